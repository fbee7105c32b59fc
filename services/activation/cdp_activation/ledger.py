"""The words of the ledger: destinations, connections, claimed rows and what is written back. Values only."""

from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Literal, NamedTuple
from uuid import UUID

from cdp_activation.breaker import Breaker
from cdp_activation.destinations.destination import Cells
from cdp_activation.plan import Entry
from cdp_activation.retry import Progress

Cause = Literal["membership", "requested", "profile", "consent", "suppressed", "merged", "erased"]
PauseClass = Literal["guard", "misconfigured", "requested", "unauthorized"]
# lower goes first: removals for privacy's sake, other removals, live additions, first loads
PRIORITIES = (0, 1, 2, 3)


class DestinationKey(NamedTuple):
    workspace_id: str
    destination_id: str


class ConnectionKey(NamedTuple):
    workspace_id: str
    audience_id: str
    destination_id: str

    @property
    def destination(self) -> DestinationKey:
        return DestinationKey(self.workspace_id, self.destination_id)


class Followed(NamedTuple):
    """A segment that some audience uses, since the moment named by ``follow_id``."""

    follow_id: int
    workspace_id: str
    segment_id: str


@dataclass(frozen=True, slots=True)
class DestinationState:
    """One destination as the worker needs it, its credentials opened. ``ready`` is False while it is switched off.

    ``updated_at`` is when somebody entered it last.
    """

    key: DestinationKey
    type: str
    settings: dict[str, Any]
    credentials: dict[str, Any] = field(repr=False)
    ready: bool = True
    throttled_until: datetime | None = None
    breaker: Breaker = field(default_factory=Breaker)
    updated_at: datetime | None = None

    def is_still(self, now: "DestinationState | None") -> bool:
        """Whether it may be called as before: ``now`` is what it is by now, None when it is gone."""
        return now is not None and now.ready and (now.settings, now.credentials) == (self.settings, self.credentials)


@dataclass(frozen=True, slots=True)
class Connection:
    """One audience at one destination. ``replace_session`` is set while a replacement is wanted or under way."""

    key: ConnectionKey
    settings: dict[str, Any]
    active: bool
    paused_class: PauseClass | None = None
    guard_waived_until: datetime | None = None
    replace_session: int | None = None


@dataclass(frozen=True, slots=True)
class Claimed:
    """A row of the ledger that this worker works on, under ``claim``."""

    entry: Entry
    progress: Progress
    cause: Cause
    claim: UUID
    changed_at: datetime
    received_at: datetime | None = None
    outcome: str | None = None


@dataclass(frozen=True, slots=True)
class Result:
    """What is written back of one claimed row.

    ``sent`` are the forms that may be at the destination from now on. Nothing more happens to the row before ``at``;
    never, when it is None, unless what is desired changes.
    """

    claimed: Claimed
    acknowledged: bool
    sent: Sequence[Cells]
    keys: Sequence[int] | None
    progress: Progress
    at: datetime | None
    outcome: str
    error_class: str = ""
    error: str = ""
    fingerprint: bytes | None = None
