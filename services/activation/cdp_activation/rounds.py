"""One turn of one audience at one destination: due rows in; removals, then additions, sent and recorded."""

import random
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from uuid import UUID, uuid4

import structlog

from cdp_activation import results
from cdp_activation.batches import Member, batches
from cdp_activation.destinations.destination import Batch, Cells, Config, Operation, Row
from cdp_activation.gathering import Facts, gather, planned
from cdp_activation.guard import alarm
from cdp_activation.ledger import PRIORITIES, Claimed, Connection, Result
from cdp_activation.line import Line
from cdp_activation.outcome import Delivered, Misconfigured, Outcome
from cdp_activation.plan import Addition, Plan, Removal
from cdp_activation.policies import Policies, WorkerPorts
from cdp_activation.retry import next_step
from cdp_runtime.metrics import ACTIVATION_DELIVERIES, FRESHNESS
from cdp_schemas.deliveries import DeliveryReported

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Turn:
    """What one turn works with; ``claimed`` by profile."""

    line: Line
    connection: Connection
    config: Config
    claimed: Mapping[UUID, Claimed]
    facts: Facts


class Rounds:
    """Removes first: whoever left, or may no longer be there, goes before anybody comes."""

    def __init__(self, ports: WorkerPorts, policies: Policies) -> None:
        self._ports, self._policies = ports, policies
        self._guarded_at: dict[tuple[str, ...], float] = {}

    async def run(self, line: Line, connection: Connection) -> int:
        """Rows worked on; 0 when none was due."""
        now = self._ports.clock.now()
        priorities = PRIORITIES[:1] if connection.paused_class == "guard" else PRIORITIES
        limit = line.rows_at_once(self._policies.rows_per_round)
        claimed = await self._ports.ledger.claim(connection.key, uuid4(), now, priorities=priorities, limit=limit)
        if not claimed or await self._alarmed(connection, claimed, now):
            return len(claimed)
        config = line.config(connection.settings)
        facts = await gather(self._ports, line.state, claimed)
        made = planned([row.entry for row in claimed], facts, line.destination, config)
        turn = Turn(line, connection, config, {row.entry.profile_id: row for row in claimed}, facts)
        await self._settle(turn, made)
        followers = await self._remove(turn, made.removals)
        await self._add(turn, [*followers, *made.additions])
        return len(claimed)

    async def _alarmed(self, connection: Connection, claimed: Sequence[Claimed], now: datetime) -> bool:
        """Pauses an audience that is about to lose an unusual share of its members."""
        leaving = sum(1 for row in claimed if not row.entry.desired and row.entry.sent and row.cause == "membership")
        waived = connection.guard_waived_until is not None and now < connection.guard_waived_until
        checked = self._ports.clock.monotonic() - self._guarded_at.get(connection.key, -1e9) < 5.0
        if not leaving or waived or (checked and leaving < self._policies.guard.some):
            return False
        counts = await self._ports.ledger.counts(connection.key, now - self._policies.guard_window)
        reason = alarm(counts, self._policies.guard)
        if reason is None:
            self._guarded_at[connection.key] = self._ports.clock.monotonic()
            return False
        _log.warning("audience_guarded", audience=connection.key.audience_id, reason=reason)
        await self._ports.directory.guard(connection, reason)
        return True

    async def _settle(self, turn: Turn, made: Plan) -> None:
        """Rows that need no call."""
        written: list[Result] = []
        for settled in made.settled:
            claimed = turn.claimed[settled.entry.profile_id]
            mark = turn.facts.fingerprint(claimed)
            if settled.reason is not None:
                written.append(results.held(claimed, settled.reason, mark))
            else:
                sent = settled.entry.sent
                keys = self.keys(turn, settled.entry.profile_id, sent)  # it may have identifiers that it had not then
                written.append(results.delivered(claimed, sent, keys, mark))
        now = self._ports.clock.now()
        waiting = [results.waiting_for_profile(turn.claimed[entry.profile_id], None, now) for entry in made.waiting]
        for reason, count in made.held.items():
            ACTIVATION_DELIVERIES.labels(turn.line.state.type, "add", reason).inc(count)
        told = [result for result in written if result.outcome != "delivered"]
        await self._write(turn, [*written, *waiting], told, "add")

    async def _remove(self, turn: Turn, removals: Sequence[Removal]) -> list[Addition]:
        """Takes forms off the destination; returns who is to be added in another form now."""
        members = [(removal.entry, cells) for removal in removals for cells in removal.cells]
        outcomes: dict[UUID, list[Outcome]] = {removal.entry.profile_id: [] for removal in removals}
        for batch in self._batches(turn, "remove", members):
            answers = await turn.line.deliver(batch, turn.config)
            for row in batch.rows:
                outcomes[row.profile_id].append(answers[row.index])
        followers: list[Addition] = []
        written: list[Result] = []
        gone: list[Removal] = []
        jitter = random.random()
        for removal in removals:
            outcome = results.worst(outcomes[removal.entry.profile_id])
            if isinstance(outcome, Delivered):
                gone.append(removal)
            if isinstance(outcome, Delivered) and removal.then is not None:
                kept = [cells for cells in removal.entry.sent if cells not in removal.cells]
                followers.append(Addition(replace(removal.entry, sent=kept), removal.then))
            else:
                written.append(self._removed(turn, removal, outcome, jitter))
        await self._pause_if_wrong(turn, [outcome for told in outcomes.values() for outcome in told])
        # before the removals are written: a process that dies in between removes again, and remembers who went along
        await self._send_again(turn, gone)
        await self._write(turn, written, written, "remove")
        return followers

    def _removed(self, turn: Turn, removal: Removal, outcome: Outcome, jitter: float) -> Result:
        claimed = turn.claimed[removal.entry.profile_id]
        mark = turn.facts.fingerprint(claimed)
        if isinstance(outcome, Delivered):
            if removal.reason is not None:
                return results.held(claimed, removal.reason, mark)
            return results.delivered(claimed, (), None, mark)
        step = next_step(outcome, claimed.progress, self._ports.clock.now(), jitter, self._policies.retry)
        return results.failed(claimed, removal.entry.sent, None, step)

    async def _send_again(self, turn: Turn, gone: Sequence[Removal]) -> None:
        """A destination forgets a person, not a row of ours: whoever shares the address is sent once more."""
        forms = [cells for removal in gone for cells in removal.cells]
        values = {value for cells in forms for value in turn.line.destination.match_values(cells)}
        keys = self._ports.keyring.of_values(values)
        await self._ports.ledger.send_again(turn.connection.key, [r.entry.profile_id for r in gone], keys)

    async def _add(self, turn: Turn, additions: Sequence[Addition]) -> None:
        before = {addition.entry.profile_id: list(addition.entry.sent) for addition in additions}
        for batch in self._batches(turn, "add", [(addition.entry, addition.cells) for addition in additions]):
            forms = [(row, with_form(before[row.profile_id], row.cells)) for row in batch.rows]
            may_be_sent = await self._ports.ledger.write_ahead(
                turn.connection,
                [(turn.claimed[row.profile_id], sent, self.keys(turn, row.profile_id, sent)) for row, sent in forms],
            )
            rows = [row for row in batch.rows if row.profile_id in may_be_sent]
            if not rows:
                continue
            answers = await turn.line.deliver(replace(batch, rows=rows), turn.config)
            jitter = random.random()
            written = [self._added(turn, row, before[row.profile_id], answers[row.index], jitter) for row in rows]
            await self._pause_if_wrong(turn, answers.values())
            await self._write(turn, written, written, "add")

    def _added(self, turn: Turn, row: Row, before: list[Cells], outcome: Outcome, jitter: float) -> Result:
        claimed, now = turn.claimed[row.profile_id], self._ports.clock.now()
        mark = turn.facts.fingerprint(claimed)
        if isinstance(outcome, Delivered):
            if claimed.received_at is not None:
                FRESHNESS.labels("delivered").observe(max(0.0, (now - claimed.received_at).total_seconds()))
            return results.delivered(claimed, [row.cells], self.keys(turn, row.profile_id, [row.cells]), mark)
        sent = with_form(before, row.cells) if results.may_be_there(outcome) else before
        step = next_step(outcome, claimed.progress, now, jitter, self._policies.retry)
        return replace(results.failed(claimed, sent, None, step), fingerprint=mark)

    def keys(self, turn: Turn, profile_id: UUID, forms: Iterable[Cells]) -> list[int]:
        """By what a row is found when somebody is suppressed, or a person with the same address is taken off."""
        values = {value for cells in forms for value in turn.line.destination.match_values(cells)}
        return sorted({*self._ports.keyring.of_values(values), *turn.facts.keys.get(profile_id, ())})

    def _batches(self, turn: Turn, operation: Operation, members: Sequence[Member]) -> list[Batch]:
        return batches(turn.connection.key, operation, members, turn.claimed, turn.line.batch_size)

    async def _pause_if_wrong(self, turn: Turn, outcomes: Iterable[Outcome]) -> None:
        wrong = next((outcome for outcome in outcomes if isinstance(outcome, Misconfigured)), None)
        if wrong is not None:
            _log.warning("audience_misconfigured", audience=turn.connection.key.audience_id, reason=wrong.reason)
            await self._ports.directory.misconfigured(turn.connection, turn.line.state, wrong.reason)

    async def _write(self, turn: Turn, written: Sequence[Result], told: Sequence[Result], operation: Operation) -> None:
        now = self._ports.clock.now()
        key = turn.connection.key
        reports = [found for result in told if (found := results.report(key, result, operation, now)) is not None]
        await self._ports.ledger.record(key, written, reports)
        _count(turn.line.state.type, reports)


def with_form(forms: Sequence[Cells], cells: Cells) -> list[Cells]:
    """The forms with one more, if it is not among them."""
    return list(forms) if cells in forms else [*forms, cells]


def _count(type_name: str, reports: Sequence[DeliveryReported]) -> None:
    for report in reports:
        ACTIVATION_DELIVERIES.labels(type_name, report.operation, report.outcome).inc()
