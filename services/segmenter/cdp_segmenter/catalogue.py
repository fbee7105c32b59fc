"""Segments as their owners see them, and the port that keeps them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

Status = Literal["building", "ready"]


@dataclass(frozen=True, slots=True)
class Draft:
    """What the owner of a segment writes; the rules were checked."""

    name: str
    description: str
    type: str
    rules: Any | None


@dataclass(frozen=True, slots=True)
class Segment:
    """One segment. ``progress`` goes from 0 to 1 while every profile is looked at; ``size`` counts members now."""

    segment_id: str
    draft: Draft
    version: int
    status: Status
    progress: float
    size: int
    created_at: datetime
    updated_at: datetime
    evaluated_at: datetime | None


@dataclass(frozen=True, slots=True)
class Member:
    """One profile inside a segment, and since when."""

    profile_id: UUID
    since: datetime


class NameTaken(Exception):
    """Another segment of the workspace has this name."""


class Catalogue(Protocol):
    """Where segments are kept and read. Every call is about one workspace."""

    async def create(self, workspace_id: str, segment_id: str, draft: Draft) -> None:
        """Raises NameTaken."""

    async def update(self, workspace_id: str, segment_id: str, draft: Draft) -> None:
        """Other rules make a new version, to be built. Raises NameTaken."""

    async def rebuild(self, workspace_id: str, segment_ids: Sequence[str]) -> None:
        """Asks for a full evaluation."""

    async def delete(self, workspace_id: str, segment_id: str) -> None: ...

    async def get(self, workspace_id: str, segment_id: str) -> Segment | None: ...

    async def listed(self, workspace_id: str, limit: int, after: str | None, offset: int) -> tuple[list[Segment], int]:
        """A page by name, and how many there are. ``after`` is the name before the page, in any case."""

    async def members(
        self, workspace_id: str, segment_id: str, limit: int, after: UUID | None, offset: int
    ) -> list[Member]:
        """A page by profile id."""

    async def holding(self, workspace_id: str, profiles: Sequence[UUID]) -> Mapping[UUID, list[str]]:
        """Profile -> ids of the segments it is in, sorted."""

    async def memberships(self, workspace_id: str, profile_id: UUID) -> list[tuple[str, str, datetime]]:
        """(segment id, name, since) of one profile."""

    async def known(self, workspace_id: str, segment_ids: Sequence[str]) -> set[str]:
        """Those of the ids that exist."""

    async def count(self, workspace_id: str) -> int: ...

    async def ask(self, workspace_id: str, profiles: Sequence[UUID]) -> None:
        """Has these profiles looked at again soon."""
