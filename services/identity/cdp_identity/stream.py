"""events-received -> resolve -> events-identified, profiles-updated, profiles-merged."""

from collections.abc import Mapping, Sequence
from typing import Final

from cdp_eventlog.log import LogUnavailable, Partition, Producer, RangeReader, Record
from cdp_identity.decisions import Settled, messages, outcomes, unpack
from cdp_identity.ports import Claim, DataRefused, Fenced, ResolverStore, StoreUnavailable
from cdp_identity.resolve import Resolver, pieces
from cdp_identity.telling import Telling
from cdp_runtime.clock import Clock
from cdp_runtime.faultpoints import reach
from cdp_runtime.logs import get_logger
from cdp_runtime.metrics import (
    FRESHNESS,
    RESOLVER_BATCH_SECONDS,
    RESOLVER_EVENTS,
    RESOLVER_FENCED,
    RESOLVER_MERGES,
    RESOLVER_PROFILES,
)
from cdp_runtime.patience import Patience

_log = get_logger(__name__)
# what the resolver waits out, however long it takes -> what is down
WAITED_FOR: Final[dict[type[Exception], str]] = {StoreUnavailable: "postgres", LogUnavailable: "kafka"}


class ReceivedStream:
    """BatchHandler of events-received. Between a commit and its publication nothing else is committed."""

    def __init__(
        self, store: ResolverStore, resolver: Resolver, producer: Producer, clock: Clock, patience: Patience
    ) -> None:
        self._store, self._resolver, self._telling = store, resolver, Telling(producer, patience)
        self._clock, self._patience = clock, patience
        self._epochs: dict[int, int] = {}

    async def assigned(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int | None]:
        """Fences earlier owners, tells their last decisions once more, starts where they ended."""
        numbers = {partition.number: partition for partition in partitions}
        claims = await self._patience.until_done(lambda: self._store.claim(numbers))
        for number, claim in claims.items():
            self._epochs[number] = claim.epoch
            await self._tell_again(numbers[number], claim, reader)
        return {numbers[number]: claim.next_offset for number, claim in claims.items()}

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        for partition in partitions:
            self._epochs.pop(partition.number, None)

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        """Resolves and tells a batch. Raises Stopping."""
        records = [record for partition in sorted(batch) for record in batch[partition]]
        for piece in pieces(records):
            await self._handle(piece)

    async def _handle(self, records: Sequence[Record]) -> None:
        started = self._clock.monotonic()
        mine = [record for record in records if record.partition.number in self._epochs]
        if not mine:
            return
        try:
            settled = await self._settle(mine)
        except DataRefused as refused:
            await self._bisect(mine, refused)
            return
        await self._tell(settled)
        RESOLVER_BATCH_SECONDS.observe(self._clock.monotonic() - started)

    async def _bisect(self, records: Sequence[Record], refused: DataRefused) -> None:
        """Halves the batch until the event that the store refuses is alone; its neighbours are resolved."""
        if len(records) > 1:
            middle = len(records) // 2
            await self._handle(records[:middle])
            await self._handle(records[middle:])
            return
        _log.warning("event_quarantined", offset=records[0].offset, reason=str(refused))
        await self._tell(await self._settle(records, str(refused)))

    async def _settle(self, records: Sequence[Record], fault: str = "") -> Settled:
        """Resolves once, through outages, deadlocks, lost replies to a commit, and partitions that others took."""
        attempt = 0
        while True:
            try:
                settled = await self._resolver.resolve(records, self._epochs, fault)
            except Fenced as fenced:
                records = self._let_go(records, fenced)
                if not records:
                    return Settled()
            except StoreUnavailable as error:
                await self._patience.after(error, attempt)
                attempt += 1
            else:
                # what was in doubt is decided by now: it would have held the partitions until it was
                return settled if settled.decisions or not attempt else await self._committed(records)

    def _let_go(self, records: Sequence[Record], fenced: Fenced) -> list[Record]:
        RESOLVER_FENCED.inc(len(fenced.partitions))
        _log.warning("partitions_lost", partitions=sorted(fenced.partitions))
        for number in fenced.partitions:
            self._epochs.pop(number, None)
        return [record for record in records if record.partition.number in self._epochs]

    async def _committed(self, records: Sequence[Record]) -> Settled:
        """The batch, settled by a commit whose reply was lost; of partitions that others took, they tell."""
        last = {record.partition.number: record.offset for record in records}
        stored = await self._patience.until_done(lambda: self._store.positions(last))
        ours = {
            number: claim
            for number, claim in stored.items()
            if self._epochs.get(number) == claim.epoch and claim.next_offset == last[number] + 1
        }
        return await self._recovered(ours, records)

    async def _recovered(self, claims: Mapping[int, Claim], records: Sequence[Record]) -> Settled:
        decisions = {number: unpack(claim.decisions) for number, claim in claims.items() if claim.decisions}
        keys = [key for one in decisions.values() for key in one.changed()]
        updated = await self._patience.until_done(lambda: self._store.golden_records(keys))
        return Settled(decisions, records, updated)

    async def _tell_again(self, partition: Partition, claim: Claim, reader: RangeReader) -> None:
        if not claim.decisions:
            return
        decisions = unpack(claim.decisions)
        records = await reader.read(partition, decisions.first, decisions.last)
        await self._tell(await self._recovered({partition.number: claim}, records))

    async def _tell(self, settled: Settled) -> None:
        if not settled.decisions:
            return
        told = messages(settled)
        reach("resolver.before-publish")
        await self._telling.publish(told)
        reach("resolver.after-publish")
        self._measure(settled)

    def _measure(self, settled: Settled) -> None:
        for outcome, count in outcomes(settled).items():
            RESOLVER_EVENTS.labels(outcome).inc(count)
        moves = [move for decisions in settled.decisions.values() for move in decisions.moved]
        for move in moves:
            RESOLVER_MERGES.labels(move.reason).inc()
        RESOLVER_PROFILES.inc(len(settled.updated))
        now = self._clock.now()
        for record in settled.updated:
            if record.received_at is not None:
                FRESHNESS.labels("profile").observe(max(0.0, (now - record.received_at).total_seconds()))
