"""Hand-written fakes of the activation service's ports."""

import asyncio
from collections.abc import Mapping, Sequence, Set
from typing import Final
from uuid import UUID

from cdp_activation.ledger import ConnectionKey, Followed
from cdp_activation.profile import Profile
from cdp_activation.projection import ProfileFact
from cdp_schemas.segments import MembershipChanged

FOLLOWED: Final[Mapping[str, Set[str]]] = {"demo": frozenset({"vip"})}


class FakeProfileReader:
    """Profiles in a dict; ``store[workspace_id, profile_id]``."""

    def __init__(self) -> None:
        self.store: dict[tuple[str, UUID], Profile] = {}

    def put(self, workspace_id: str, profile: Profile) -> None:
        self.store[workspace_id, profile.profile_id] = profile

    async def read(self, workspace_id: str, profile_ids: Sequence[UUID]) -> Mapping[UUID, Profile]:
        return {id_: self.store[workspace_id, id_] for id_ in profile_ids if (workspace_id, id_) in self.store}


class FakeProjection:
    """What was applied; ``changed`` is how much of the ledger each batch is said to change."""

    def __init__(self, changed: int = 0, followed: Mapping[str, Set[str]] = FOLLOWED) -> None:
        self.changed, self.segments = changed, followed
        self.memberships: list[MembershipChanged] = []
        self.parts: list[int] = []  # how many came at once
        self.profiles: list[ProfileFact] = []

    async def followed(self) -> Mapping[str, Set[str]]:
        return self.segments

    async def apply_memberships(self, changes: Sequence[MembershipChanged]) -> int:
        self.memberships.extend(changes)
        self.parts.append(len(changes))
        return self.changed

    async def apply_profiles(self, facts: Sequence[ProfileFact]) -> int:
        self.profiles.extend(facts)
        return self.changed


class FakeOutbox:
    """Reports by their number; ``empty`` is set once all are published."""

    def __init__(self) -> None:
        self.empty = asyncio.Event()
        self._waiting = 0

    def put(self, reports: int) -> None:
        self._waiting += reports
        self.empty.clear()

    async def publish_some(self) -> int:
        published, self._waiting = min(self._waiting, 1), max(0, self._waiting - 1)
        if not self._waiting:
            self.empty.set()
        return published

    async def size(self) -> int:
        return self._waiting


class FakeFollowing:
    """No segment waits to be loaded."""

    async def follow(self) -> Sequence[Followed]:
        return []

    async def load(self, followed: Followed) -> None:
        return None


class FakeSweep:
    """Nothing is ever out of step."""

    async def connections(self, *, flagged: bool) -> Mapping[ConnectionKey, str]:
        return {}

    async def unflag(self, key: ConnectionKey, version: str) -> None:
        return None

    async def remind(self, key: ConnectionKey) -> int:
        return 0

    async def forget_told(self) -> None:
        return None

    async def over(self) -> Sequence[ConnectionKey]:
        return []

    async def forget(self, key: ConnectionKey, limit: int) -> int:
        return 0

    async def count_members(self) -> None:
        return None

    async def backlog(self) -> Sequence[tuple[str, int, float]]:
        return []

    async def breakers(self) -> Sequence[tuple[str, str, bool]]:
        return []
