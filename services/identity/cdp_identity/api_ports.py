"""What the identity API needs from outside: reads of profiles, and changes that the resolver applies."""

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol
from uuid import UUID

from cdp_identity.rows import ConsentEntry, LinkRow, NodeRow
from cdp_identity.search import Conditions, Found
from cdp_identity.writing import Change
from cdp_schemas.profiles import ProfileUpdated


class Reading(Protocol):
    """Committed facts. Every call raises ApiError 503 while the store is down."""

    async def profiles_of(self, workspace_id: str, nodes: Collection[UUID]) -> dict[UUID, UUID]:
        """Node -> profile; unknown and erased nodes are missing."""

    async def records(self, workspace_id: str, profiles: Collection[UUID]) -> dict[UUID, ProfileUpdated]:
        """Golden records of the profiles that exist."""

    async def record_of(self, workspace_id: str, node: UUID) -> ProfileUpdated | None:
        """The golden record of the profile that a node belongs to; None for an unknown or erased node."""

    async def search(self, conditions: Conditions, limit: int, offset: int, after: UUID | None) -> Found:
        """One page of those who satisfy all conditions."""

    async def graph(self, workspace_id: str, profile: UUID) -> tuple[list[NodeRow], list[LinkRow]]:
        """The nodes of a profile and its links, those that do not hold included."""

    async def names(self, workspace_id: str, nodes: Collection[UUID]) -> Mapping[UUID, NodeRow]:
        """The nodes that exist."""

    async def consents(self, workspace_id: str, nodes: Sequence[UUID]) -> list[ConsentEntry]:
        """The history of consent, the latest first."""


class Changes(Protocol):
    """The way to change a profile."""

    async def apply(self, workspace_id: str, change: Change) -> tuple[str, bool]:
        """Makes a change durable; returns its message id and whether it is applied already. Raises ApiError."""
