"""One replacement of a whole audience: every member that may be sent, in one session, and nobody else stays."""

from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import structlog

from cdp_activation import results
from cdp_activation.batches import Member, batches
from cdp_activation.destinations.destination import Config, Session
from cdp_activation.gathering import Facts, gather
from cdp_activation.ledger import Claimed, Connection, ConnectionKey, Result
from cdp_activation.line import Line
from cdp_activation.outcome import Delivered, Misconfigured, Outcome, RejectedBatch, RejectedRow, RetryLater
from cdp_activation.plan import Addition, plan
from cdp_activation.policies import Policies, WorkerPorts
from cdp_activation.rounds import with_form
from cdp_schemas.deliveries import DeliveryReported

_log = structlog.get_logger(__name__)
_PAUSE: Final = timedelta(seconds=5)
_RECONCILE_ROWS: Final = 5000


@dataclass(slots=True)
class _Run:
    """One attempt: a session at the destination, a claim in the ledger, and what came of it so far."""

    line: Line
    connection: Connection
    config: Config
    session_id: int
    total: int
    claim: UUID = field(default_factory=uuid4)
    page: int = 0
    held: list[Result] = field(default_factory=list)
    refused: list[Result] = field(default_factory=list)
    reports: list[DeliveryReported] = field(default_factory=list)


class Replacement:
    """Exclusive: while it runs nothing else is sent for the audience. A failed attempt starts again from the top."""

    def __init__(self, ports: WorkerPorts, policies: Policies) -> None:
        self._ports, self._policies = ports, policies
        self._not_before: dict[ConnectionKey, datetime] = {}

    async def run(self, line: Line, connection: Connection) -> int:
        """Members sent; 0 when it is not yet time for another attempt, or nothing came of this one."""
        key, now = connection.key, self._ports.clock.now()
        if now < self._not_before.get(key, now):
            return 0
        while await self._ports.ledger.reconcile(key, limit=_RECONCILE_ROWS) == _RECONCILE_ROWS:
            pass
        counts = await self._ports.ledger.counts(key, now)
        # sessions are ours to number; milliseconds never repeat within an ad account
        run = _Run(line, connection, line.config(connection.settings), int(now.timestamp() * 1000), counts.wanted)
        failure = await self._send(run)
        if failure is None:
            await self._finish(run)
            return counts.wanted
        await self._failed(run, failure)
        return 0

    async def _send(self, run: _Run) -> Outcome | None:
        """Every page but the last goes when the next is known to exist, so that the last can be marked."""
        size = run.line.batch_size
        waiting: list[tuple[Member, Claimed, Sequence[int]]] = []
        after: UUID | None = None
        while True:
            rows = await self._ports.ledger.page(run.connection.key, run.claim, after, size)
            if not rows:
                break
            after = rows[-1].entry.profile_id
            waiting += await self._members(run, rows)
            while len(waiting) > size:
                failure = await self._send_page(run, waiting[:size], last=False)
                if failure is not None:
                    return failure
                del waiting[:size]
        if not waiting:
            return RejectedBatch("there is nobody who may be sent: remove the audience instead of replacing it")
        return await self._send_page(run, waiting, last=True)

    async def _members(self, run: _Run, rows: Sequence[Claimed]) -> list[tuple[Member, Claimed, Sequence[int]]]:
        facts = await gather(self._ports, run.line.state, rows)
        destination = run.line.destination
        # planned as if nobody were there yet: a replacement sends everybody
        made = plan(
            [replace(row.entry, sent=(), acknowledged=False) for row in rows],
            facts.profiles,
            facts.gates,
            lambda profile: destination.cells(profile, run.config),
            destination.match_values,
        )
        claimed = {row.entry.profile_id: row for row in rows}
        for settled in made.settled:
            row = claimed[settled.entry.profile_id]
            if settled.reason is not None:
                run.held.append(results.held(row, settled.reason, facts.fingerprint(row)))
        return [
            ((addition.entry, addition.cells), claimed[addition.entry.profile_id], self._keys(run, facts, addition))
            for addition in made.additions
        ]

    def _keys(self, run: _Run, facts: Facts, addition: Addition) -> list[int]:
        values = run.line.destination.match_values(addition.cells)
        return sorted({*self._ports.keyring.of_values(values), *facts.keys.get(addition.entry.profile_id, ())})

    async def _send_page(
        self, run: _Run, members: Sequence[tuple[Member, Claimed, Sequence[int]]], *, last: bool
    ) -> Outcome | None:
        key = run.connection.key
        may_be_sent = await self._ports.ledger.write_ahead(
            key, [(row, with_form(row.entry.sent, cells), keys) for (_, cells), row, keys in members]
        )
        members = [one for one in members if one[1].entry.profile_id in may_be_sent]
        if not members:
            return RetryLater("everybody of a page left, withdrew a consent or was suppressed meanwhile")
        run.page += 1
        claimed = {row.entry.profile_id: row for _, row, _ in members}
        (batch,) = batches(key, "replace", [member for member, _, _ in members], claimed, len(members))
        session = Session(run.session_id, run.page, last, run.total)
        answers = await run.line.deliver(replace(batch, session=session), run.config)
        now = self._ports.clock.now()
        for row in batch.rows:
            outcome = answers[row.index]
            if isinstance(outcome, RejectedRow) and len(batch.rows) > 1:
                step = results.step_of(claimed[row.profile_id], outcome, now, 0.0, self._policies.retry)
                run.refused.append(results.failed(claimed[row.profile_id], (), None, step))
            elif not isinstance(outcome, Delivered):
                return outcome
            else:
                self._report(run, results.delivered(claimed[row.profile_id], (), None, None), now)
        return None

    def _report(self, run: _Run, result: Result, now: datetime) -> None:
        report = results.report(run.connection.key, result, "replace", now)
        if report is not None:
            run.reports.append(report)

    async def _finish(self, run: _Run) -> None:
        key, now = run.connection.key, self._ports.clock.now()
        for result in (*run.held, *run.refused):
            self._report(run, result, now)
        await self._ports.ledger.record(key, run.refused, [])
        await self._ports.ledger.finish_replacement(key, run.claim, now)
        await self._ports.ledger.record(key, run.held, run.reports)
        assert run.connection.replace_session is not None
        await self._ports.directory.replaced(key, run.connection.replace_session, None)

    async def _failed(self, run: _Run, failure: Outcome) -> None:
        key = run.connection.key
        reason = getattr(failure, "reason", "")
        _log.warning("replacement_interrupted", audience=key.audience_id, reason=reason)
        self._not_before[key] = self._ports.clock.now() + _PAUSE
        if isinstance(failure, Misconfigured):
            await self._ports.directory.pause_connection(key, "misconfigured", reason)
        elif isinstance(failure, RejectedBatch | RejectedRow):
            assert run.connection.replace_session is not None
            await self._ports.directory.replaced(key, run.connection.replace_session, reason)
