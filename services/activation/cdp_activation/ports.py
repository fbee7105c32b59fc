"""What the loop of deliveries needs from outside, named by need."""

from collections.abc import Callable, Mapping, Sequence, Set
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cdp_activation.breaker import Breaker
from cdp_activation.destinations.destination import Cells, HttpRequest, HttpResponse
from cdp_activation.guard import AudienceCounts
from cdp_activation.ledger import (
    Claimed,
    Connection,
    ConnectionKey,
    DestinationKey,
    DestinationState,
    Followed,
    PauseClass,
    Result,
)
from cdp_activation.profile import Profile
from cdp_activation.projection import ProfileFact
from cdp_schemas.deliveries import DeliveryReported
from cdp_schemas.segments import MembershipChanged


class CallFailed(Exception):
    """No answer. ``sent`` tells whether the request may have arrived; ``forbidden`` that it must not be made at all."""

    def __init__(self, reason: str, *, sent: bool, forbidden: bool = False) -> None:
        super().__init__(reason)
        self.sent, self.forbidden = sent, forbidden


class Calls(Protocol):
    """HTTP to addresses that workspaces entered."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        """One call, no redirects, bounded in time and size. Raises CallFailed."""


class ProfileReader(Protocol):
    """Profiles as they are now."""

    async def read(self, workspace_id: str, profile_ids: Sequence[UUID]) -> Mapping[UUID, Profile]:
        """Those that exist, at the version the column store shows. Raises StoreUnavailable."""


class Directory(Protocol):
    """Destinations and their connections."""

    async def due(self, now: datetime) -> Sequence[DestinationKey]:
        """Destinations that have something to send and may be called."""

    async def destination(self, key: DestinationKey) -> DestinationState | None: ...

    async def connections(self, key: DestinationKey) -> Sequence[Connection]:
        """The destination's connections that are not paused for good; those with a replacement first."""

    async def pause_destination(self, state: DestinationState, kind: PauseClass, reason: str) -> None:
        """Nothing, when others were entered since: the call that failed was not made with them."""

    async def guard(self, connection: Connection, reason: str) -> None:
        """Pauses it, unless somebody has confirmed its removals since, or paused it."""

    async def misconfigured(self, connection: Connection, state: DestinationState, reason: str) -> None:
        """Pauses it, unless its settings or those of the destination are others by now, or somebody paused it."""

    async def rest(self, key: DestinationKey, until: datetime) -> None:
        """No call before ``until``, also after a restart."""

    async def keep_breaker(self, key: DestinationKey, breaker: Breaker) -> None: ...

    async def replaced(self, key: ConnectionKey, session: int, error: str | None) -> None:
        """Ends a replacement."""


class Ledger(Protocol):
    """The rows. Every method but ``reconcile`` is one transaction; only the holder of the destination calls these."""

    async def claim(
        self, key: ConnectionKey, claim: UUID, now: datetime, *, priorities: Sequence[int], limit: int
    ) -> list[Claimed]:
        """Due rows in order of priority, now under ``claim``."""

    async def page(self, key: ConnectionKey, claim: UUID, after: UUID | None, limit: int) -> list[Claimed]:
        """Desired rows in order of profile id, whether due or not, under ``claim``: for replacements."""

    async def leaving(self, key: ConnectionKey, now: datetime, limit: int) -> list[Claimed]:
        """Due rows of those who may be there and must go for privacy's sake, as they are: claimed by nobody."""

    async def write_ahead(
        self, connection: Connection, forms: Sequence[tuple[Claimed, Sequence[Cells], Sequence[int]]]
    ) -> Set[UUID]:
        """Keeps what is about to be sent, so that it can be removed even if we never learn of its arrival.

        Returns who may be sent: nobody, when the connection was paused or has other settings by now. Whoever left,
        withdrew a consent or was suppressed since the claim is not among them, stays pending and is not to be sent.
        """

    async def record(self, key: ConnectionKey, results: Sequence[Result], reports: Sequence[DeliveryReported]) -> None:
        """Writes results and their reports; a row whose desired state changed meanwhile stays pending."""

    async def send_again(self, key: ConnectionKey, removed: Sequence[UUID], keys: Sequence[int]) -> int:
        """Makes members pending that share a matching value with removed ones: they went with them."""

    async def finish_replacement(self, key: ConnectionKey, claim: UUID, now: datetime) -> None:
        """What was sent under ``claim`` is what is there, and nothing else is."""

    async def counts(self, key: ConnectionKey, since: datetime) -> AudienceCounts:
        """For the guard; ``left`` since that time."""

    async def suppressed(self, key: DestinationKey, keys: Mapping[UUID, Sequence[int]]) -> frozenset[UUID]:
        """Which profiles, given with the keys of all their identifiers, are on the suppression list."""

    async def reconcile(
        self, key: ConnectionKey, *, stopping: Callable[[], bool] = ..., changed: Callable[[], None] = ...
    ) -> int:
        """Brings desired in step with the segments; returns how many were out of step.

        In small turns, between which deliveries go on: ``changed`` is called after each, and none is begun once
        ``stopping``.

        Nothing changes while members of one of the segments are not loaded: they would be taken for gone.
        """

    async def recheck(self, key: ConnectionKey, *, limit: int) -> int:
        """Makes members pending who were settled, or given up, before the connection was last changed or activated;
        returns how many, ``limit`` at most."""


class Projection(Protocol):
    """What is known of memberships and profiles, and what the ledger desires because of it."""

    async def followed(self) -> Mapping[str, Set[str]]:
        """Workspace -> the segments whose memberships are kept at this moment; no workspace without any."""

    async def apply_memberships(self, changes: Sequence[MembershipChanged]) -> int:
        """Keeps changes with a higher sequence than the known one; returns how many members the ledger now wants or
        wants no more because of them."""

    async def apply_profiles(self, facts: Sequence[ProfileFact]) -> int:
        """Keeps who must not be sent in older versions, and makes members pending whose data changed."""


class Following(Protocol):
    """The segments that audiences use: only their memberships are kept."""

    async def follow(self) -> Sequence[Followed]:
        """Follows what audiences use and nothing else; returns those whose members are to be loaded.

        All that are not loaded yet, and after them one whose load was long ago.
        """

    async def load(self, followed: Followed) -> None:
        """Loads the members as the segmenter has them now; their audiences wait for it, and are reconciled then."""


class SweepStore(Protocol):
    """What may be out of step."""

    async def connections(self, *, flagged: bool) -> Mapping[ConnectionKey, str]:
        """All connections, or those that somebody changed, each with its version."""

    async def unflag(self, key: ConnectionKey, version: str) -> None:
        """Nothing, when the connection has another version by now: somebody changed it again."""

    async def remind(self, key: ConnectionKey) -> int:
        """Makes rows pending that are not as desired and that nobody works on; returns how many."""

    async def forget_told(self) -> None:
        """Of versions that were told: those which ClickHouse has shown for a day at least."""

    async def over(self) -> Sequence[ConnectionKey]:
        """Connections of deleted destinations, and those of deleted audiences at which nobody is held any more."""

    async def forget(self, key: ConnectionKey, limit: int) -> int:
        """Deletes so many of its rows, and with the last of them the connection; returns how many."""

    async def count_members(self) -> None:
        """Of large audiences, ahead of whoever looks at them."""

    async def backlog(self) -> Sequence[tuple[str, int, float]]:
        """Type of destination, rows pending, age in seconds of the oldest; nothing of deleted destinations."""

    async def breakers(self) -> Sequence[tuple[str, str, bool]]:
        """Type and id of each destination that may be called, and whether its breaker is open."""


class Outbox(Protocol):
    """Reports on their way to the log."""

    async def publish_some(self) -> int:
        """Publishes the oldest; returns how many. Raises LogUnavailable."""

    async def size(self) -> int: ...


class Holdings(Protocol):
    """Who works on a destination: one process at a time, given up at once when the process dies."""

    async def hold(self, key: DestinationKey) -> bool: ...

    async def let_go(self, key: DestinationKey) -> None: ...

    async def healthy(self, key: DestinationKey) -> bool:
        """False when what was held may be held by another by now."""
