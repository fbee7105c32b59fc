"""Records of events-received -> one transaction -> what was decided; repeated until it is, whatever the store does."""

from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Final

import msgspec

from cdp_eventlog.log import Record
from cdp_identity import batch
from cdp_identity.application import Application, Rules
from cdp_identity.batch import Item, Refusal
from cdp_identity.changes import Changes
from cdp_identity.decisions import Settled, pack, settle
from cdp_identity.erasure import erase
from cdp_identity.ports import DataRefused, Progress, ResolverStore, Transaction, Unlocked
from cdp_identity.rows import Key, NodeRow
from cdp_runtime.clock import Clock
from cdp_runtime.metrics import (
    RESOLVER_DROPPED_PURPOSES,
    RESOLVER_DROPPED_TRAITS,
    RESOLVER_REFUSED_LINKS,
    RESOLVER_UNREAD_AMOUNTS,
)
from cdp_schemas.codec import Codec, InvalidMessage

_ATTEMPTS: Final = 100
_DELETE: Final = b'"type":"delete"'


class _Call(msgspec.Struct):
    """What kind of call a record is; the rest is not even decoded."""

    type: str = ""


_calls: Final = Codec(_Call)


def pieces(records: Sequence[Record]) -> list[list[Record]]:
    """A batch, cut so that each delete call is alone: what came before it is erased, what comes after it is not."""
    cut: list[list[Record]] = [[]]
    for record in records:
        if _is_delete(record.value):
            cut += [[record], []]
        else:
            cut[-1].append(record)
    return [piece for piece in cut if piece]


def _is_delete(value: bytes) -> bool:
    """Whether a record is a delete call. Anybody may write the same words into an event's properties."""
    if _DELETE not in value:
        return False
    try:
        return _calls.decode(value).type == "delete"
    except InvalidMessage:
        return False  # nor can it be resolved


def due(items: Iterable[Item], starts: Mapping[int, int | None]) -> list[Item]:
    """Those that have no effects yet, each once: what was read twice would be its own duplicate and not be stored."""
    ends = {number: start or 0 for number, start in starts.items()}
    found = []
    for item in items:
        number, offset = item.record.partition.number, item.record.offset
        if offset >= ends[number]:
            ends[number] = offset + 1
            found.append(item)
    return found


class Resolver:
    """Resolves batches against one store. ``epochs`` are the partitions that this worker owns."""

    def __init__(self, store: ResolverStore, rules: Rules, clock: Clock) -> None:
        self._store, self._rules, self._clock = store, rules, clock

    async def resolve(self, records: Sequence[Record], epochs: Mapping[int, int], fault: str = "") -> Settled:
        """Makes the effects of the records and moves their offsets, in one transaction.

        With ``fault`` the records are quarantined for it. Raises Fenced, StoreUnavailable (the transaction may have
        happened), DataRefused (some record carries what the store will never take).
        """
        extra: set[Key] = set()
        for _ in range(_ATTEMPTS):
            try:
                return await self._attempt(records, epochs, extra, fault)
            except Unlocked as more:
                extra |= more.profiles
            except (ValueError, ArithmeticError, RecursionError) as error:
                raise DataRefused(f"{type(error).__name__}: {error}") from error
        raise DataRefused(f"its profiles did not stand still for {_ATTEMPTS} attempts")

    async def _attempt(
        self, records: Sequence[Record], epochs: Mapping[int, int], extra: Collection[Key], fault: str
    ) -> Settled:
        items = batch.read_records(records, self._rules.reading)
        numbers = {item.record.partition.number for item in items}
        async with self._store.transaction() as tx:
            starts = await tx.fence({number: epochs[number] for number in numbers})
            items = due(items, starts)
            if not items:
                return Settled()
            if fault:
                for item in items:
                    item.quarantine(Refusal("refused_by_store", fault))
            changes = await self._changes(tx, items, extra)
            settled = settle(items, changes)
            progress = {number: Progress(one.last + 1, pack(one)) for number, one in settled.decisions.items()}
            await tx.advance(progress)
        RESOLVER_DROPPED_TRAITS.inc(changes.dropped_traits)
        RESOLVER_DROPPED_PURPOSES.inc(changes.dropped_purposes)
        RESOLVER_UNREAD_AMOUNTS.inc(batch.unread_amounts(items))
        for reason in changes.refused:
            RESOLVER_REFUSED_LINKS.labels(reason).inc()
        return settled

    async def _changes(self, tx: Transaction, items: Sequence[Item], extra: Collection[Key]) -> Changes:
        known = await tx.nodes(batch.keys(items))
        batch.suppress_erased(items, known)
        batch.quarantine_unknown(items, known)
        await self._mark_duplicates(tx, items)
        deletes = [item for item in items if item.outcome == "stored" and item.event and item.event.type == "delete"]
        if deletes:
            return await self._erase(tx, deletes[0], known)
        return await Application(tx, self._rules, self._clock.now(), extra).apply(known, batch.gather(items))

    async def _mark_duplicates(self, tx: Transaction, items: Sequence[Item]) -> None:
        candidates = []
        seen = set()
        for item in items:
            if item.statement is None or item.outcome == "quarantined":
                continue
            message = batch.message_of(item)
            if message.id in seen:
                item.outcome = "duplicate"
            else:
                seen.add(message.id)
                candidates.append((item, message))
        met = await tx.remember([message for _, message in candidates], self._rules.window)
        for position in met:
            candidates[position][0].outcome = "duplicate"

    async def _erase(self, tx: Transaction, item: Item, known: Mapping[Key, NodeRow]) -> Changes:
        """The call itself is not stored: nothing of an erased person is, not even that."""
        assert item.event is not None
        item.outcome = "suppressed"
        row = known.get((item.event.workspace_id, item.node))
        if row is None or not row.is_live:
            return Changes()
        return await erase(tx, row, item.event.received_at, self._clock.now())
