"""What the segmenter needs of the world, each port by the need of one caller."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime
from typing import Protocol
from uuid import UUID

from cdp_clickhouse.statement import Statement
from cdp_schemas.segments import MembershipsChanged
from cdp_segmenter.definitions import Definitions
from cdp_segmenter.membership import Place
from cdp_segmenter.rules.ast import Rule
from cdp_segmenter.rules.decide import Decided, Decider
from cdp_segmenter.rules.facts import Facts
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.sql import Members


class Session(Protocol):
    """One transaction that holds the workspace's lock: what it reads cannot change under it."""

    async def definitions(self) -> Definitions: ...

    async def of_profiles(self, profiles: Sequence[UUID]) -> dict[Place, int]:
        """The sequences of these profiles in every segment."""

    async def inside(self, profiles: Sequence[UUID]) -> dict[str, int]:
        """Segment -> its members among these profiles, as bits: bit i is the i-th of them."""

    async def sequences(self, places: Sequence[Place]) -> list[int]:
        """The sequence of each of these places, 0 when it has none."""

    async def of_buckets(self, buckets: tuple[int, int], segment_ids: Sequence[str]) -> dict[Place, int]:
        """The sequences of all profiles of a range of buckets in these segments."""

    async def of_segment(self, segment_id: str, limit: int, after: UUID | None) -> dict[Place, int]:
        """Some members of one segment, in a fixed order, from behind one of them on."""

    async def apply(self, changes: Sequence[MembershipsChanged]) -> None:
        """Records the changes and puts them into the outbox. Raises OutOfStep when one does not follow the last."""

    async def remind(self, moments: Mapping[UUID, datetime]) -> None:
        """Has these profiles looked at again at their moments, instead of any earlier reminder."""

    async def progress(self, segment_ids: Sequence[str], share: float) -> None: ...


class OutOfStep(Exception):
    """A membership has another sequence than the one just read: read again. The lock should make it impossible."""


class Ledger(Protocol):
    """Where memberships are kept."""

    def session(self, workspace_id: str, *, locked: bool = True) -> AbstractAsyncContextManager[Session]:
        """Waits for the workspace's lock, if asked to; commits on a clean exit, else rolls back."""


class Crowd(Protocol):
    """Where the facts of all profiles are. Every call raises StoreUnavailable or StoreRefused."""

    async def members(self, rules: Sequence[Rule], scope: Scope, manual: Members) -> list[list[UUID]]:
        """Per rule the profiles in scope that satisfy it."""

    async def decided(self, decider: Decider, scope: Scope, manual: Mapping[str, int]) -> Decided:
        """The same for the profiles that the scope names, as bits, at a cost that hardly grows with the rules."""

    async def survivors(self, workspace_id: str, gone: Sequence[UUID]) -> Mapping[UUID, UUID]:
        """Those of the gone who were merged -> the profile each of them lives on in."""

    async def count(self, workspace_id: str) -> int:
        """Profiles of the workspace."""

    async def due(self, statement: Statement) -> list[UUID]:
        """The profiles that a query names."""


class Witness(Protocol):
    """Facts and figures for one question at a time."""

    async def facts(self, scope: Scope, profile_id: UUID, names: Sequence[str]) -> Facts | None:
        """What is known of a profile, with its events of these names; None when there is no such profile."""

    async def preview(self, rule: Rule, scope: Scope, manual: Members, sample: int) -> "tuple[int, list[UUID]]":
        """How many profiles satisfy a rule, and some of them."""


class Agenda(Protocol):
    """What is to be evaluated, beyond what messages tell."""

    async def building(self) -> Mapping[str, Mapping[str, int]]:
        """Workspace -> segment -> build that was asked for."""

    async def built(self, workspace_id: str, builds: Mapping[str, int], at: datetime) -> None:
        """Ready, unless another build was asked for meanwhile."""

    async def deleted(self) -> Sequence[tuple[str, str]]:
        """(workspace, segment) pairs that still may have members though they were deleted."""

    async def forget(self, workspace_id: str, segment_id: str) -> None:
        """The last trace of a deleted segment."""

    async def workspaces(self) -> Mapping[str, tuple[datetime, datetime]]:
        """Workspace -> how far the clock was swept, when all was last reconciled."""

    async def swept(self, workspace_id: str, through: datetime) -> None: ...

    async def reconciled(self, workspace_id: str, last: datetime, at: datetime) -> None:
        """It was, unless what ``workspaces`` said before is another time by now."""

    async def overdue(self, workspace_id: str) -> None:
        """The workspace is to be reconciled as soon as it can be."""

    async def moments(
        self, until: datetime, limit: int, but: Collection[str] = ()
    ) -> Mapping[str, Mapping[UUID, datetime]]:
        """Workspace -> profiles whose moment has come, and which it is; of none of the workspaces ``but``."""

    async def passed(self, workspace_id: str, moments: Mapping[UUID, datetime]) -> None:
        """These were looked at; a moment that was set meanwhile stays."""

    async def requested(self, limit: int, but: Collection[str] = ()) -> Mapping[str, Mapping[UUID, datetime]]:
        """Workspace -> profiles that the API asked to look at again, and when; of none of the workspaces ``but``."""

    async def answered(self, workspace_id: str, requests: Mapping[UUID, datetime]) -> None:
        """These requests are done; one that was repeated since stays."""
