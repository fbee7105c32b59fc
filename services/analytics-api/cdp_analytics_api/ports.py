"""What the front door needs from outside, in its own words."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any, Protocol
from uuid import UUID

from cdp_clickhouse.statement import Statement
from cdp_runtime.api import Facet
from cdp_runtime.auth import Principal
from cdp_schemas.events import IdentifiedEvent, RefusedEvent

Facets = Mapping[str, Facet]


class EventStore(Protocol):
    """Answers analytical questions, read-only and within limits."""

    async def rows(self, statement: Statement) -> list[dict[str, Any]]:
        """Raises StoreUnavailable, or StoreRefused when the question is wrong or too heavy."""


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as it is kept; ``expires_at`` None means never."""

    principal: Principal
    token_hash: str
    expires_at: datetime | None


class Tokens(Protocol):
    """The API tokens of all workspaces. Every call raises a Postgres error while the store is down."""

    async def find(self, token_hash: str) -> StoredToken | None:
        """A token that was not revoked."""

    async def used(self, tokens: Mapping[tuple[str, str], datetime]) -> None:
        """Notes when tokens, by (workspace, token id), were last used."""


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """One request for personal data, answered or refused."""

    workspace_id: str
    at: datetime
    request_id: str
    token_id: str
    method: str
    route: str
    subject: str
    scope: str
    status: int


class AuditLog(Protocol):
    async def write(self, entries: Sequence[AuditEntry]) -> None:
        """Durable when it returns."""

    async def purge(self, before: datetime) -> None:
        """Removes entries from before this time."""


@dataclass(frozen=True, slots=True)
class KeptAnswer:
    """The answer to a request with an Idempotency-Key."""

    status: int
    content_type: str
    body: bytes


@dataclass(frozen=True, slots=True)
class KeyedRequest:
    """A request with an Idempotency-Key; ``owner`` is the id of this very attempt."""

    workspace_id: str
    key: str
    method: str
    path: str
    fingerprint: bytes
    owner: str


@dataclass(frozen=True, slots=True)
class Claim:
    """What is known of a key: ours now, or another's request and perhaps its answer."""

    is_ours: bool
    is_same_request: bool = True
    answer: KeptAnswer | None = None


class KeptAnswers(Protocol):
    async def claim(self, request: KeyedRequest, now: datetime) -> Claim:
        """Takes the key if it is free, expired, or was left open for more than a minute."""

    async def keep(self, request: KeyedRequest, answer: KeptAnswer) -> None:
        """The answer that repeats get; nothing if the claim was lost meanwhile."""

    async def release(self, request: KeyedRequest) -> None:
        """Forgets the claim: a repeat runs again."""

    async def purge(self, now: datetime) -> None:
        """Removes what has expired."""


@dataclass(frozen=True, slots=True)
class Verdict:
    """May a request pass, and if not, seconds until it may."""

    allowed: bool
    retry_after: float = 0.0


class RateLimiter(Protocol):
    async def admit(self, key: str) -> Verdict:
        """Counts one request of this key. Never raises: without its store the process counts alone."""

    async def forgive(self, key: str) -> None:
        """A request that was admitted shall not count."""


@dataclass(frozen=True, slots=True)
class Refused:
    """A refused event with its place in the dead-letter topic."""

    partition: int
    offset: int
    event: RefusedEvent


class Quarantine(Protocol):
    """Refused events, to be read and mended."""

    async def starts(self, partitions: Sequence[int]) -> Mapping[int, int]:
        """The next offset to take per partition; partitions never seen are missing."""

    async def take(self, refused: Sequence[Refused], next_offsets: Mapping[int, int]) -> None:
        """Stores events and positions in one transaction; what is there already stays as it is."""

    async def page(
        self, workspace_id: str, reason: str | None, limit: int, after: tuple[datetime, int, int] | None
    ) -> tuple[list[Refused], bool]:
        """The newest after the place (received_at, partition, offset), as many as memory has room for; whether more."""

    async def purge(self, before: datetime) -> None:
        """Removes what arrived before this time."""


OnEvents = Callable[[Sequence[IdentifiedEvent]], Awaitable[None]]


class EventTail(Protocol):
    """New identified events from now on."""

    async def follow(self, on_events: OnEvents, ready: Callable[[], None]) -> None:
        """Runs until cancelled; ``ready`` is called when the end of the log was found. Raises LogUnavailable."""


class Directory(Protocol):
    """Profiles behind references and nodes."""

    async def profiles_of(self, workspace_id: str, nodes: Sequence[UUID]) -> Mapping[UUID, UUID]:
        """The profile of every node."""
