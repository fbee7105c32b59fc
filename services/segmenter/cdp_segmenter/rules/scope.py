"""Whom an evaluation is about: one workspace's profiles, all or some of them, at one moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

BUCKETS: Final = 256
_LOW_BITS: Final = (1 << 56) - 1
_HIGH_HALF: Final = ((1 << 64) - 1) << 64


@dataclass(frozen=True, slots=True)
class Scope:
    """``profiles`` None means all of them, or those of ``buckets`` (first and last, both included)."""

    workspace_id: str
    now: datetime
    profiles: tuple[UUID, ...] | None = None
    buckets: tuple[int, int] | None = None


def bucket_of(profile_id: UUID) -> int:
    """One of 256 equal parts of all profiles: contiguous in ClickHouse, which orders UUIDs by their second half."""
    return profile_id.bytes[8]


def bucket_ends(first: int, last: int) -> tuple[UUID, UUID]:
    """The lowest and the highest id of a range of buckets, in ClickHouse's order."""
    return UUID(int=first << 56), UUID(int=_HIGH_HALF | last << 56 | _LOW_BITS)
