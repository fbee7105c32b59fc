"""What people keep: destinations, audiences and suppressions as values, and the stores they are kept in."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, Protocol
from uuid import UUID

from cdp_activation.breaker import Breaker

ActivationOperation = Literal["add", "remove", "replace"]


class NameTaken(Exception):
    """Another object of this kind in the workspace has the name."""


class ChangedMeanwhile(Exception):
    """It is not as it was read any more; nothing was done."""


class StillThere(Exception):
    """Members are at the destination; what was asked would leave them there for ever. The message says how many."""


@dataclass(frozen=True, slots=True)
class Destination:
    """One destination; its credentials are never part of it, only the names of those that are set."""

    destination_id: str
    name: str
    type: str
    settings: Mapping[str, Any]
    credential_names: Sequence[str]
    enabled: bool
    paused_class: str | None
    paused_reason: str | None
    throttled_until: datetime | None
    breaker: Breaker
    created_at: datetime
    updated_at: datetime


@dataclass(frozen=True, slots=True)
class Link:
    """An audience's connection to a destination, as it was asked for."""

    destination_id: str
    settings: Mapping[str, Any]
    platform: str | None = None


@dataclass(frozen=True, slots=True)
class AudienceDraft:
    """What a caller says of an audience, checked."""

    name: str
    description: str
    segment_ids: Sequence[str]
    platforms: Sequence[str]
    config: Mapping[str, Any]
    links: Sequence[Link]


@dataclass(frozen=True, slots=True)
class LinkState:
    """A connection and how it does. ``unplanned``: what was asked of it is not in the ledger yet."""

    destination_id: str
    destination_name: str
    type: str
    platform: str | None
    settings: Mapping[str, Any]
    active: bool
    paused_class: str | None
    paused_reason: str | None
    destination_paused_reason: str | None
    throttled_until: datetime | None
    breaker: Breaker
    replacing: bool
    replaced_at: datetime | None
    replace_error: str | None
    unplanned: bool


@dataclass(frozen=True, slots=True)
class Audience:
    audience_id: str
    name: str
    description: str
    segment_ids: Sequence[str]
    platforms: Sequence[str]
    config: Mapping[str, Any]
    created_at: datetime
    updated_at: datetime
    members: int = 0
    links: Sequence[LinkState] = field(default_factory=tuple)


@dataclass(frozen=True, slots=True)
class Tally:
    """The ledger's rows of one connection that share a fate."""

    destination_id: str
    outcome: str | None
    error: str | None
    desired: bool
    present: bool
    pending: bool
    count: int
    oldest: datetime


@dataclass(frozen=True, slots=True)
class DeliveryRow:
    profile_id: UUID
    destination_id: str
    desired: bool
    acknowledged: bool
    pending: bool
    outcome: str | None
    error: str | None
    attempts: int
    next_attempt_at: datetime
    changed_at: datetime
    acknowledged_at: datetime | None


@dataclass(frozen=True, slots=True)
class Overlap:
    """Members of one audience, of the other, and of both."""

    size: int
    other: int
    both: int


@dataclass(frozen=True, slots=True)
class Suppression:
    """Somebody who is never sent. ``hint`` tells people which value it is without holding it."""

    suppression_id: str
    kind: str
    hint: str
    destination_id: str | None
    reason: str
    created_at: datetime


@dataclass(frozen=True, slots=True)
class Page:
    """Where a page of a list begins and how long it is; newest first."""

    limit: int
    after: tuple[datetime, str] | None = None
    offset: int = 0


class DestinationStore(Protocol):
    async def create(self, workspace_id: str, made: Destination, credentials: Mapping[str, Any]) -> None:
        """Raises NameTaken."""

    async def get(self, workspace_id: str, destination_id: str) -> Destination | None: ...

    async def listed(self, workspace_id: str, page: Page) -> tuple[list[Destination], int]:
        """One page and how many there are."""

    async def of_type(self, workspace_id: str, type_name: str) -> list[Destination]: ...

    async def update(self, workspace_id: str, changed: Destination, credentials: Mapping[str, Any] | None) -> None:
        """Settings or credentials that changed end a pause and a rest. Raises NameTaken.

        Raises ChangedMeanwhile unless the destination is as ``changed`` was made from: credentials that are kept must
        not come to settings that they were not entered for.
        """

    async def delete(self, workspace_id: str, destination_id: str, *, force: bool) -> bool:
        """False when there is none. Raises StillThere unless forced."""

    async def credentials(self, workspace_id: str, destination: Destination) -> dict[str, Any]:
        """For a call with these very settings. Raises CannotOpen, and ChangedMeanwhile when there are others by now."""

    async def resume(self, workspace_id: str, destination_id: str) -> None:
        """Ends a pause: the credentials were seen to work."""


class AudienceStore(Protocol):
    async def create(self, workspace_id: str, audience_id: str, draft: AudienceDraft) -> None:
        """Raises NameTaken."""

    async def get(self, workspace_id: str, audience_id: str) -> Audience | None: ...

    async def listed(self, workspace_id: str, page: Page) -> tuple[list[Audience], int]: ...

    async def update(self, workspace_id: str, audience_id: str, draft: AudienceDraft) -> bool:
        """Raises NameTaken, and StillThere when a connection with members would point elsewhere."""

    async def delete(self, workspace_id: str, audience_id: str) -> bool:
        """Its members are taken off every destination afterwards."""

    async def operate(
        self,
        workspace_id: str,
        audience_id: str,
        destinations: Sequence[str],
        operation: ActivationOperation,
        *,
        waive: bool,
    ) -> None:
        """``waive`` lets removals pass the guard for an hour."""

    async def pause(self, workspace_id: str, audience_id: str, destinations: Sequence[str]) -> None: ...

    async def tallies(self, workspace_id: str, audience_id: str) -> list[Tally]: ...

    async def deliveries(
        self, workspace_id: str, audience_id: str, limit: int, after: tuple[str, UUID] | None
    ) -> list[DeliveryRow]:
        """In order of destination and profile."""

    async def overlap(self, workspace_id: str, one: str, other: str) -> Overlap: ...

    async def count(self, workspace_id: str) -> int: ...


class SuppressionStore(Protocol):
    async def add(self, workspace_id: str, made: Suppression, key: int) -> bool:
        """False when it is on the list already. Members it names are taken off."""

    async def listed(self, workspace_id: str, page: Page) -> tuple[list[Suppression], int]: ...

    async def remove(self, workspace_id: str, suppression_id: str) -> bool:
        """Members it held back are sent again."""
