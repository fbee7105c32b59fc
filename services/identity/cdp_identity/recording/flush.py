"""Batches of three topics -> ClickHouse, then profiles-recorded: intent, insert, publish, close, each a named step."""

import asyncio
from collections import defaultdict
from collections.abc import Callable, Coroutine, Iterable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from cdp_clickhouse.errors import StoreRefused
from cdp_eventlog.log import Outgoing, Partition, Producer, RangeReader, Record
from cdp_identity.recording.acceptance import accepted
from cdp_identity.recording.blocks import Arrivals, Block, nodes_of
from cdp_identity.recording.draft import Batch, Draft, add_events, draft
from cdp_identity.recording.erasure import Erasures
from cdp_identity.recording.observed import observe_block, observe_draft
from cdp_identity.recording.owners import RecentOwners
from cdp_identity.recording.ports import ColumnStore, Fenced, Ledger, NodeOwners
from cdp_identity.recording.profiles import alias_block, profile_block
from cdp_identity.recording.protocol import Claim, Intent, is_due
from cdp_identity.recording.settlement import Settled, Settlement
from cdp_identity.recording.touched import Touched
from cdp_runtime import metrics
from cdp_runtime.clock import Clock
from cdp_runtime.logs import get_logger
from cdp_runtime.patience import Patience
from cdp_schemas.codec import encode
from cdp_schemas.topics import PROFILES_RECORDED

_log = get_logger(__name__)
# the effects of a flush, in order; a crash between any two of them is tested
CHECKPOINTS: Final = (
    "before-intent",
    "after-intent",
    "before-insert",
    "after-insert",
    "before-publish",
    "after-publish",
    "before-close",
    "after-close",
)
_CONCURRENT_INSERTS: Final = 2
_LEASE_S: Final = 30.0
_DOUBTFUL: Final = (Settled.FOUND, Settled.AGAIN)  # a view may have missed the block, or lost it


@dataclass(frozen=True, slots=True)
class Stores:
    """Where a flush reads and writes."""

    ledger: Ledger
    columns: ColumnStore
    nodes: NodeOwners
    producer: Producer
    clock: Clock


class Flush:
    """The recorder's claims, and what is done with the records of claimed partitions.

    ``window`` is the store's deduplication window in blocks. ``checkpoint`` is called with each step's name.
    Every method waits for what is down; it raises Stopping when ``patience`` was told to stop.
    """

    def __init__(
        self,
        stores: Stores,
        patience: Patience,
        *,
        window: int = 10_000,
        checkpoint: Callable[[str], None] = lambda name: None,
    ) -> None:
        self._stores, self._patience, self._checkpoint = stores, patience, checkpoint
        self._claims: dict[Partition, Claim] = {}
        self._owners = RecentOwners()
        self._erasures = Erasures(stores.columns, stores.ledger, patience)
        self._settlement = Settlement(
            stores.columns, patience, self._erasures.until, window=window, checkpoint=checkpoint
        )
        self._intended_at = 0.0
        self._inserting = asyncio.Semaphore(_CONCURRENT_INSERTS)

    async def claim(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int]:
        """Take partitions over, finish what their last owner left open; partition -> the offset to read from."""
        claimed = await self._patience.until_done(lambda: self._stores.ledger.claim(partitions))
        self._claims.update({claim.partition: claim for claim, _ in claimed})
        left_open = defaultdict[tuple[Intent, ...], list[Claim]](list)
        for claim, intents in claimed:
            left_open[intents].append(claim)
        for intents, claims in left_open.items():
            if intents:
                await self._recover(claims, intents, reader)
        return {p: self._claims[p].next_offset for p in partitions if p in self._claims}

    def release(self, partitions: Iterable[Partition]) -> None:
        """These partitions are another worker's from now on."""
        for partition in partitions:
            self._claims.pop(partition, None)

    async def record(self, batch: Batch) -> None:
        """Returns when everything in the batch is durable, told and closed.

        Raises Fenced when another worker took over in the middle of it: claim again before the next batch.
        """
        flush = await self._intended(batch)
        observe_draft(flush)
        await self._finish(flush, in_doubt=False)

    async def _intended(self, batch: Batch) -> Draft:
        flush = draft(self._due(batch), self._claims)
        if flush.intents:
            claims = [self._claims[intent.partition] for intent in flush.intents]
            self._checkpoint("before-intent")
            # Fenced for one partition, the others must not go on without it: an attempt whose reply was lost may have
            # opened the intents, and the new owner then writes blocks of all of them
            await self._intend(claims, flush.intents)
            self._checkpoint("after-intent")
        return flush

    def _due(self, batch: Batch) -> Batch:
        """The claimed partitions' records that have no effects yet."""
        due = {
            partition: [record for record in records if is_due(self._claims[partition], record.offset)]
            for partition, records in batch.items()
            if partition in self._claims
        }
        return {partition: records for partition, records in due.items() if records}

    async def _recover(self, claims: Sequence[Claim], intents: Sequence[Intent], reader: RangeReader) -> None:
        """Finish a flush whose partitions may have come to several workers: each makes all of its blocks again."""
        batch = {intent.partition: await self._read(intent, reader) for intent in intents}
        metrics.RECORDER_INTENTS_RECOVERED.inc(len(claims))
        flush = Draft(records=sum(map(len, batch.values())))
        add_events(flush, {claim.partition: claim for claim in claims}, intents, batch)
        await self._finish(flush, in_doubt=True)

    async def _read(self, intent: Intent, reader: RangeReader) -> list[Record]:
        records = await self._patience.until_done(lambda: reader.read(intent.partition, intent.first, intent.last))
        if len(records) != intent.records:
            _log.error("records_expired", intent=str(intent), found=len(records))
        return records

    async def _finish(self, flush: Draft, *, in_doubt: bool) -> None:
        if in_doubt:
            await self._erasures.learn(self._stores.clock.now())
        erasures = await self._erasures.save(flush)
        doubtful: list[Block] = []
        await _all(self._settle(flush, block, in_doubt, doubtful) for block in flush.blocks)
        for block in doubtful:
            await self._settlement.repair(block)
        await self._insert_moves(flush)
        await self._insert_updates(flush)
        await self._erasures.learn(self._stores.clock.now())
        arrivals = [nodes_of(reading.events) for reading in flush.readings]
        await self._erasures.remove([*erasures, *(one for nodes in arrivals for one in self._erasures.met(nodes))])
        await self._erasures.forget(flush)
        await self._publish(flush, arrivals)
        await self._close(flush)

    async def _settle(self, flush: Draft, block: Block, in_doubt: bool, doubtful: list[Block]) -> None:
        async with self._inserting:
            if self._stores.clock.monotonic() - self._intended_at > _LEASE_S:
                # this process may have stood still while another took over: ask before the token could be forgotten
                ours = [intent.partition for intent in flush.intents if intent.partition in flush.claims]
                await self._intend([self._claims[partition] for partition in ours], flush.intents)
            settled = await self._settlement.settle(block, in_doubt=in_doubt)
        if settled in _DOUBTFUL:
            doubtful.append(block)
        observe_block(block, settled, self._stores.clock.now())

    async def _insert_moves(self, flush: Draft) -> None:
        if flush.moves:
            await self._insert(alias_block(list(flush.moves.values())))
        for (workspace_id, node_id), move in flush.moves.items():
            self._owners.know(workspace_id, node_id, move.profile_id)

    async def _insert_updates(self, flush: Draft) -> None:
        if not flush.updates:
            return
        updates = list(flush.updates.values())
        if (refused := await self._refused(profile_block(updates))) is not None:
            _log.warning("profiles_refused", reason=refused.message)
            updates = await self._patience.until_done(lambda: accepted(updates, self._stores.columns))
            await self._insert(profile_block(updates))

    async def _refused(self, block: Block) -> StoreRefused | None:
        try:
            await self._patience.until_done(lambda: self._write(block), but=StoreRefused)
        except StoreRefused as refused:
            return refused
        return None

    async def _insert(self, block: Block) -> None:
        await self._patience.until_done(lambda: self._write(block))

    async def _write(self, block: Block) -> None:
        """A block whose rows carry versions: writing it twice changes nothing."""
        self._checkpoint("before-insert")
        await self._stores.columns.insert(block)
        self._checkpoint("after-insert")
        observe_block(block, Settled.WRITTEN, self._stores.clock.now())

    async def _publish(self, flush: Draft, arrivals: Sequence[Arrivals]) -> None:
        touched = await self._touched(flush, arrivals)
        now = self._stores.clock.now()
        messages = [
            Outgoing(PROFILES_RECORDED, message.workspace_id.encode(), encode(message))
            for message in touched.messages(now)
        ]
        self._checkpoint("before-publish")
        if messages:
            await self._patience.until_done(lambda: self._stores.producer.publish(messages))
        self._checkpoint("after-publish")

    async def _touched(self, flush: Draft, arrivals: Sequence[Arrivals]) -> Touched:
        touched = Touched()
        touched.update(flush.updates.values())
        touched.move(flush.moves.values())
        self._owners.turn(self._stores.clock.monotonic())
        for of_partition in arrivals:
            for workspace_id, nodes in of_partition.items():
                await self._ask_owners(workspace_id, self._owners.unknown(workspace_id, nodes))
                for node, received_at in nodes.items():
                    touched.add(workspace_id, self._owners.owner(workspace_id, node) or node, received_at)
        return touched

    async def _ask_owners(self, workspace_id: str, nodes: list[UUID]) -> None:
        if nodes:
            found = await self._patience.until_done(lambda: self._stores.nodes.owners(workspace_id, nodes))
            for node in nodes:
                self._owners.know(workspace_id, node, found.get(node, node))

    async def _close(self, flush: Draft) -> None:
        self._checkpoint("before-close")
        while claims := [claim for claim in flush.claims.values() if claim.partition in self._claims]:
            try:
                await self._store_claims(claims)
            except Fenced as fenced:
                self._let_go(fenced)
                continue
            self._claims.update({claim.partition: claim for claim in claims})
            break
        self._checkpoint("after-close")

    async def _intend(self, claims: list[Claim], intents: list[Intent]) -> None:
        async def ask() -> None:
            # counted from the question: this process may have stood still while the answer lay there
            asked_at = self._stores.clock.monotonic()
            await self._stores.ledger.intend(claims, intents)
            self._intended_at = asked_at

        await self._patience.until_done(ask)

    async def _store_claims(self, claims: list[Claim]) -> None:
        await self._patience.until_done(lambda: self._stores.ledger.close(claims))

    def _let_go(self, fenced: Fenced) -> None:
        metrics.RECORDER_FENCED.inc(len(fenced.partitions))
        _log.warning("partitions_fenced", partitions=str(fenced))
        self.release(fenced.partitions)


async def _all(calls: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run the calls at once; when one fails none of the others is left running behind our back."""
    tasks = [asyncio.ensure_future(call) for call in calls]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
