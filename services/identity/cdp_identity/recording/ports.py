"""What the recorder needs from outside: a ledger of intents, a column store, the owners of nodes."""

from collections.abc import Collection, Mapping, Sequence
from datetime import datetime
from typing import Final, NamedTuple, Protocol
from uuid import UUID

from cdp_clickhouse.errors import StoreError
from cdp_eventlog.log import LogUnavailable, Partition
from cdp_identity.recording.blocks import Block
from cdp_identity.recording.protocol import Claim, Intent, Presence


class Erasure(NamedTuple):
    """What arrived for a node up to ``until`` must not be in any table; ``sequence`` is 0 until it is saved."""

    workspace_id: str
    node_id: UUID
    until: datetime
    sequence: int = 0


class Fenced(Exception):
    """Another worker has claimed these partitions since: nothing was written, let go of them."""

    def __init__(self, partitions: Collection[Partition]) -> None:
        super().__init__(", ".join(f"{topic}[{number}]" for topic, number in sorted(partitions)))
        self.partitions = frozenset(partitions)


class LedgerUnavailable(Exception):
    """Postgres is down or out of reach: every call of the ledger may be repeated."""


# what the recorder waits out, however long it takes -> what is down
WAITED_FOR: Final[dict[type[Exception], str]] = {
    StoreError: "clickhouse",
    LedgerUnavailable: "postgres",
    LogUnavailable: "kafka",
}


class Ledger(Protocol):
    """Claims, open intents and erasures, durable. Every call may be repeated after LedgerUnavailable."""

    async def claim(self, partitions: Sequence[Partition]) -> list[tuple[Claim, tuple[Intent, ...]]]:
        """Take the partitions over: raises their epochs, which fences every earlier owner.

        With each, the intents of the flush that its last owner left open, this partition's among them, or none.
        """

    async def intend(self, claims: Sequence[Claim], intents: Sequence[Intent]) -> None:
        """Open the intents of one flush for the claimed partitions, replacing what was open there.

        Raises Fenced: then none is open.
        """

    async def close(self, claims: Sequence[Claim]) -> None:
        """Store the advanced claims and close their intents. Raises Fenced: then none is stored."""

    async def erase(self, erasures: Sequence[Erasure]) -> None:
        """Remember erasures, so that rows that another worker is still inserting are found afterwards."""

    async def erasures(self, after: int, since: datetime) -> list[Erasure]:
        """Erasures with a sequence above ``after`` that concern arrivals at or after ``since``, in order."""


class ColumnStore(Protocol):
    """The tables of ClickHouse. Raises StoreUnavailable or StoreRefused; every call may be repeated."""

    async def insert(self, block: Block) -> None:
        """Returns when the block and everything its views make of it is durable. A token counts once.

        It may be remembered although its rows were lost, when the store was killed between the two.
        """

    async def presence(self, block: Block) -> Presence:
        """Which of the block's places are there."""

    async def erase(self, workspace_id: str, nodes: Sequence[UUID], until: datetime) -> None:
        """Remove the events of the nodes that arrived up to ``until``, and what they counted for."""

    async def forget(self, workspace_id: str, versions: Mapping[UUID, int]) -> None:
        """Remove the rows of these profiles that are older than their version; those that say deleted may stay."""

    async def repair(self, block: Block) -> None:
        """The block's rows are there, but a view may have missed them: count again what it should have counted."""

    async def acceptable(self, objects: Sequence[str]) -> bool:
        """Whether the JSON type takes all of these objects. Raises StoreRefused while it takes none at all."""


class NodeOwners(Protocol):
    """Where nodes belong now."""

    async def owners(self, workspace_id: str, nodes: Sequence[UUID]) -> Mapping[UUID, UUID]:
        """Node -> profile; a node that is not listed is its own profile. Raises LedgerUnavailable."""
