"""What the resolver needs from outside: one store with transactions."""

from collections.abc import Collection, Mapping, Sequence
from contextlib import AbstractAsyncContextManager
from datetime import datetime, timedelta
from typing import NamedTuple, Protocol
from uuid import UUID

from cdp_identity.graph import Pair
from cdp_identity.revenue import Sum
from cdp_identity.rows import ConsentEntry, Key, LinkRow, Message, NodeRow, OrderKey, OrderRow, ProfileRow
from cdp_schemas.profiles import ProfileUpdated


class Claim(NamedTuple):
    """One partition of events-received as its owner knows it. ``epoch`` fences every earlier owner."""

    epoch: int
    next_offset: int | None
    decisions: bytes | None = None


class Progress(NamedTuple):
    """How far a batch got in one partition, and what it decided there."""

    next_offset: int
    decisions: bytes


class Fenced(Exception):
    """Other workers have claimed these partitions since: nothing was written, let go of them."""

    def __init__(self, partitions: Collection[int]) -> None:
        super().__init__(f"partitions {sorted(partitions)} of events-received belong to another worker now")
        self.partitions = frozenset(partitions)


class Unlocked(Exception):
    """The work reaches profiles that this transaction has not locked: begin again and lock them too."""

    def __init__(self, profiles: Collection[Key]) -> None:
        super().__init__(f"{len(profiles)} more profiles must be locked")
        self.profiles = frozenset(profiles)


class StoreUnavailable(Exception):
    """The store is down, or gave up a deadlock: the same transaction may succeed later.

    Also raised when the reply to a commit was lost: then the transaction may have happened.
    """


class DataRefused(Exception):
    """The store will never take this data; some event of the batch carries it."""


class Transaction(Protocol):
    """All or nothing. Reads see what was committed when they run; ``lock`` holds until the end."""

    async def fence(self, epochs: Mapping[int, int]) -> Mapping[int, int | None]:
        """Partition -> next offset, if the epochs are still ours. Raises Fenced."""

    async def nodes(self, keys: Collection[Key]) -> dict[Key, NodeRow]:
        """The nodes that exist, erased ones included."""

    async def links(self, pairs: Mapping[Pair, str]) -> dict[Pair, LinkRow]:
        """The links that exist; ``pairs`` maps to the workspace."""

    async def remember(self, messages: Sequence[Message], window: timedelta) -> set[int]:
        """Positions in ``messages`` whose id was met at another offset within ``window`` of its arrival."""

    async def orders(self, keys: Collection[OrderKey]) -> dict[OrderKey, OrderRow]:
        """The orders, locked; those that do not exist yet are reserved until the end."""

    async def make(
        self, records: Sequence[ProfileUpdated], places: Collection[Key], now: datetime
    ) -> Mapping[Key, int]:
        """Makes profiles and places for profiles, before any is locked; they are held until the end.

        Those that did not exist yet, with their new versions; a place has version 0. Others are left as they are.
        """

    async def lock(self, profiles: Collection[Key]) -> dict[Key, ProfileRow]:
        """Locks profiles, in one order for all workers. What is gone is missing."""

    async def members(self, profiles: Collection[Key]) -> list[NodeRow]:
        """The live nodes of the profiles."""

    async def held_links(self, nodes: Collection[Key]) -> list[LinkRow]:
        """Links that hold between these nodes."""

    async def open_links(self, since: Mapping[Key, int]) -> list[LinkRow]:
        """Refused links at these nodes whose evidence is from ``since`` (µs) or later."""

    async def neighbours(self, keys: Collection[Key]) -> dict[Key, UUID]:
        """Node -> profile of nodes that exist."""

    async def save_orders(self, rows: Sequence[OrderRow]) -> None: ...

    async def sums(self, nodes: Collection[Key]) -> dict[Key, list[Sum]]:
        """The order ledger per node and currency."""

    async def versions(self, count: int) -> list[int]:
        """New version numbers, rising."""

    async def add_nodes(self, rows: Sequence[NodeRow]) -> None:
        """Writes nodes that do not exist yet; their profiles were made by this transaction."""

    async def save_nodes(self, rows: Sequence[NodeRow], moved: Mapping[Key, UUID]) -> None:
        """Writes whole rows; ``moved`` are nodes of which only the profile changes."""

    async def save_links(self, rows: Sequence[LinkRow]) -> None: ...

    async def save_profiles(self, records: Sequence[ProfileUpdated], gone: Collection[Key]) -> None: ...

    async def save_consents(self, entries: Sequence[ConsentEntry]) -> None: ...

    async def erase(self, nodes: Sequence[NodeRow], erased_at: datetime) -> None:
        """Wipes the nodes to marks of their erasure, and all that belongs to them: links, orders, consents."""

    async def advance(self, progress: Mapping[int, Progress]) -> None:
        """Stores the new offsets and decisions of partitions that ``fence`` checked."""


class ResolverStore(Protocol):
    """Everything the resolver keeps. Every call raises StoreUnavailable or DataRefused."""

    def transaction(self) -> AbstractAsyncContextManager[Transaction]:
        """Commits when the block ends, else rolls back."""

    async def claim(self, partitions: Collection[int]) -> dict[int, Claim]:
        """Takes the partitions over: raises their epochs."""

    async def positions(self, partitions: Collection[int]) -> dict[int, Claim]:
        """Epoch and next offset as stored: tells whether a commit whose reply was lost happened."""

    async def golden_records(self, profiles: Collection[Key]) -> list[ProfileUpdated]:
        """The profiles as they are now; those that are gone are missing."""
