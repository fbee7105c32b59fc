# ruff: noqa: S608 - values arrive as placeholders
"""Whom an evaluation is about: one workspace's profiles, all or some of them, at one moment."""

from dataclasses import dataclass
from datetime import datetime
from typing import Final
from uuid import UUID

BUCKETS: Final = 256
_LOW_BITS: Final = (1 << 56) - 1
_HIGH_HALF: Final = ((1 << 64) - 1) << 64
# the profile that the node of event row `v` belongs to, beside `aliases_sql`
NODE_PROFILE: Final = "if(n.profile_id = toUUID('00000000-0000-0000-0000-000000000000'), v.node_id, n.profile_id)"


def aliases_sql(workspace: str) -> str:
    """The join that brings the profile of each moved node; ``workspace`` is a placeholder."""
    moved = f"SELECT node_id, profile_id FROM profile_aliases FINAL WHERE workspace_id = {workspace}"
    return f"LEFT ANY JOIN ({moved}) AS n ON n.node_id = v.node_id"


@dataclass(frozen=True, slots=True)
class Scope:
    """``profiles`` None means all of them, or those of ``buckets`` (first and last, both included)."""

    workspace_id: str
    now: datetime
    profiles: tuple[UUID, ...] | None = None
    buckets: tuple[int, int] | None = None


def bucket_of(profile_id: UUID) -> int:
    """One of 256 equal parts of all profiles: contiguous in ClickHouse, which orders UUIDs by their second half."""
    return profile_id.int >> 56 & 0xFF


def bucket_ends(first: int, last: int) -> tuple[UUID, UUID]:
    """The lowest and the highest id of a range of buckets, in ClickHouse's order."""
    return UUID(int=first << 56), UUID(int=_HIGH_HALF | last << 56 | _LOW_BITS)
