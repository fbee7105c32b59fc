"""One replacement of a whole audience: every member that may be sent, in one session, and nobody else stays."""

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID, uuid4

import structlog

from cdp_activation import results
from cdp_activation.batches import Member, batches
from cdp_activation.destinations.destination import Config, Session
from cdp_activation.gathering import gather, planned
from cdp_activation.ledger import Claimed, Connection, ConnectionKey, Result
from cdp_activation.line import Line
from cdp_activation.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    RejectedBatch,
    RejectedRow,
    RetryLater,
    Throttled,
)
from cdp_activation.policies import Policies, WorkerPorts
from cdp_activation.retry import next_step
from cdp_activation.rounds import Rounds, Turn, with_form
from cdp_eventlog.waiting import is_set_within
from cdp_schemas.deliveries import DeliveryReported

_log = structlog.get_logger(__name__)
_PAUSE: Final = timedelta(seconds=5)
# between two looks at whether the replacement is still wanted, and at who must go for privacy's sake
_LOOK_SECONDS: Final = 5.0
_Sending = tuple[Member, Claimed, Sequence[int]]


@dataclass(slots=True)
class _Run:
    """One attempt: a session at the destination, a claim in the ledger, and what came of it so far.

    ``page`` and ``sent_to`` are the last page that was taken and its last member; ``opened`` is when the first was.
    ``gone`` are the changes whose removal was told meanwhile; ``looked`` is when somebody last looked for them.
    """

    line: Line
    connection: Connection
    config: Config
    session_id: int
    total: int
    looked: datetime
    claim: UUID = field(default_factory=uuid4)
    page: int = 0
    sent_to: UUID | None = None
    opened: datetime | None = None
    held: dict[UUID, Result] = field(default_factory=dict)
    refused: list[Result] = field(default_factory=list)
    reports: list[DeliveryReported] = field(default_factory=list)
    gone: set[tuple[UUID, int]] = field(default_factory=set)
    others_had_theirs: bool = False

    @property
    def exclusive(self) -> bool:
        """Whether the destination takes nothing else for the audience now."""
        return self.opened is not None and self.line.destination.entry.replace_window is not None


class Replacement:
    """A session is alone in its audience, but for removals for privacy's sake where the destination takes them.

    It waits for the pauses that the destination asks for; an attempt that failed starts again from the top.
    """

    def __init__(self, ports: WorkerPorts, policies: Policies, rounds: Rounds) -> None:
        self._ports, self._policies, self._rounds = ports, policies, rounds
        self._not_before: dict[ConnectionKey, datetime] = {}
        self._stopping = asyncio.Event()

    def stop(self) -> None:
        """No pause is waited for any longer."""
        self._stopping.set()

    async def run(self, line: Line, connection: Connection) -> int:
        """Members sent; 0 when it is not yet time for another attempt, or nothing came of this one."""
        key, now = connection.key, self._ports.clock.now()
        if now < self._not_before.get(key, now):
            return 0
        await self._ports.ledger.reconcile(key, stopping=self._stopping.is_set)
        if self._stopping.is_set():
            return 0
        counts = await self._ports.ledger.counts(key, now)
        # sessions are ours to number; milliseconds never repeat within an ad account
        run = _Run(line, connection, line.config(connection.settings), int(now.timestamp() * 1000), counts.wanted, now)
        run.others_had_theirs = await self._privacy(run) > 0
        failure = await self._send(run)
        if failure is None:
            await self._finish(run)
            return counts.wanted
        await self._failed(run, failure)
        return 0

    async def _send(self, run: _Run) -> Outcome | None:
        """Every page but the last goes when the next is known to exist, so that the last can be marked."""
        size = run.line.batch_size
        waiting: list[_Sending] = []
        after: UUID | None = None
        more = True
        while True:
            while more and len(waiting) <= size:
                rows = await self._ports.ledger.page(run.connection.key, run.claim, after, size)
                more = bool(rows)
                if rows:
                    after = rows[-1].entry.profile_id
                    waiting += await self._members(run, rows)
            if not waiting:
                return _nobody(run)
            last = len(waiting) <= size
            outcome = await self._send_page(run, waiting[:size], last=last)
            if isinstance(outcome, Throttled):
                outcome = await self._pause(run, outcome)
                # who may be sent is asked again: it was long enough for a change of mind
                waiting, after, more = [], run.sent_to, True
            elif last:
                return outcome
            else:
                del waiting[:size]
                outcome = outcome or await self._look(run)
            if outcome is not None:
                return outcome

    async def _members(self, run: _Run, rows: Sequence[Claimed]) -> list[_Sending]:
        facts = await gather(self._ports, run.line.state, rows)
        # planned as if nobody were there yet: a replacement sends everybody
        entries = [replace(row.entry, sent=(), acknowledged=False) for row in rows]
        made = planned(entries, facts, run.line.destination, run.config)
        claimed = {row.entry.profile_id: row for row in rows}
        for profile_id in claimed:
            run.held.pop(profile_id, None)
        for settled in made.settled:
            row = claimed[settled.entry.profile_id]
            if settled.reason is not None:
                run.held[row.entry.profile_id] = results.held(row, settled.reason, facts.fingerprint(row))
        turn = Turn(run.line, run.connection, run.config, claimed, facts)
        members = [(addition.entry, addition.cells) for addition in made.additions]
        return [
            ((entry, cells), claimed[entry.profile_id], self._rounds.keys(turn, entry.profile_id, [cells]))
            for entry, cells in members
        ]

    async def _send_page(self, run: _Run, members: Sequence[_Sending], *, last: bool) -> Outcome | None:
        key = run.connection.key
        may_be_sent = await self._ports.ledger.write_ahead(
            run.connection, [(row, with_form(row.entry.sent, cells), keys) for (_, cells), row, keys in members]
        )
        members = [one for one in members if one[1].entry.profile_id in may_be_sent]
        if not members:
            return RetryLater("everybody of a page left, withdrew a consent or was suppressed meanwhile")
        claimed = {row.entry.profile_id: row for _, row, _ in members}
        (batch,) = batches(key, "replace", [member for member, _, _ in members], claimed, len(members))
        session = Session(run.session_id, run.page + 1, last, run.total)
        answers = await run.line.deliver(replace(batch, session=session), run.config)
        now = self._ports.clock.now()
        for row in batch.rows:
            outcome = answers[row.index]
            if isinstance(outcome, RejectedRow):
                step = next_step(outcome, claimed[row.profile_id].progress, now, 0.0, self._policies.retry)
                run.refused.append(results.failed(claimed[row.profile_id], (), None, step))
            elif not isinstance(outcome, Delivered):
                return outcome
            else:
                self._report(run, results.delivered(claimed[row.profile_id], (), None, None), now)
        run.page, run.sent_to, run.opened = run.page + 1, batch.rows[-1].profile_id, run.opened or now
        return None

    async def _pause(self, run: _Run, asked: Throttled) -> Outcome | None:
        """None once the session may go on where it is; else what ends the attempt."""
        now, window = self._ports.clock.now(), run.line.destination.entry.replace_window
        if window is not None and run.opened is not None and asked.until >= run.opened + window:
            # a pause as long as that is an exception; many short ones would be the same the next time
            reason = f"only {run.page} pages were taken within the {window} that a replacement may last: {asked.reason}"
            return asked if asked.until - now >= window else RejectedBatch(reason)
        while (left := (asked.until - self._ports.clock.now()).total_seconds()) > 0:
            if await is_set_within(self._stopping, min(left, _LOOK_SECONDS)) or not await self._goes_on(run):
                return asked
        # in turn with the pages, so that both get on where one call is taken between two pauses
        run.others_had_theirs = not run.others_had_theirs and await self._privacy(run) > 0
        return None

    async def _look(self, run: _Run) -> Outcome | None:
        """Between two pages, every few seconds: pages that no destination holds up may take hours all the same."""
        if (self._ports.clock.now() - run.looked).total_seconds() < _LOOK_SECONDS:
            return None
        if not await self._goes_on(run):
            return RetryLater("the destination or the audience was changed meanwhile")
        await self._privacy(run)
        run.looked = self._ports.clock.now()
        return None

    async def _goes_on(self, run: _Run) -> bool:
        """Whether it is still for this process to send, and the same is wanted in the same way."""
        key = run.connection.key
        if not await self._ports.holdings.healthy(key.destination):
            return False
        if not run.line.state.is_still(await self._ports.directory.destination(key.destination)):
            return False
        return run.connection in await self._ports.directory.connections(key.destination)

    async def _privacy(self, run: _Run) -> int:
        """Members who must go for privacy's sake do not wait for the session's end; how many were told of."""
        told = 0 if run.exclusive else await self._take_off(run)
        for connection in await self._ports.directory.connections(run.connection.key.destination):
            if connection.replace_session is None:
                # as of an audience that the guard holds: nothing but this
                told += await self._rounds.run(run.line, replace(connection, paused_class="guard"))
        return told

    async def _take_off(self, run: _Run) -> int:
        """Off what is there now. The rows stay as they are: the session may bring these members back, or it was refused
        because an earlier one is open, and the round after it takes them off for good."""
        key, limit = run.connection.key, self._policies.rows_per_round
        rows = await self._ports.ledger.leaving(key, self._ports.clock.now(), limit)
        rows = [row for row in rows if (row.entry.profile_id, row.entry.sequence) not in run.gone]
        if not rows:
            return 0
        facts = await gather(self._ports, run.line.state, rows)
        made = planned([row.entry for row in rows], facts, run.line.destination, run.config)
        members = [(removal.entry, cells) for removal in made.removals for cells in removal.cells]
        claimed = {row.entry.profile_id: row for row in rows}
        for batch in batches(key, "remove", members, claimed, run.line.batch_size):
            answers = await run.line.deliver(batch, run.config)
            run.gone |= {(r.profile_id, r.sequence) for r in batch.rows if isinstance(answers[r.index], Delivered)}
        return len(members)

    def _report(self, run: _Run, result: Result, now: datetime) -> None:
        report = results.report(run.connection.key, result, "replace", now)
        if report is not None:
            run.reports.append(report)

    async def _finish(self, run: _Run) -> None:
        key, now = run.connection.key, self._ports.clock.now()
        held = list(run.held.values())
        for result in (*held, *run.refused):
            self._report(run, result, now)
        await self._ports.ledger.record(key, run.refused, [])
        await self._ports.ledger.finish_replacement(key, run.claim, now)
        await self._ports.ledger.record(key, held, run.reports)
        assert run.connection.replace_session is not None
        await self._ports.directory.replaced(key, run.connection.replace_session, None)

    async def _failed(self, run: _Run, failure: Outcome) -> None:
        key = run.connection.key
        reason = getattr(failure, "reason", "")
        _log.warning("replacement_interrupted", audience=key.audience_id, reason=reason)
        self._not_before[key] = self._ports.clock.now() + _PAUSE
        if isinstance(failure, Misconfigured):
            await self._ports.directory.misconfigured(run.connection, run.line.state, reason)
        elif isinstance(failure, RejectedBatch):
            assert run.connection.replace_session is not None
            await self._ports.directory.replaced(key, run.connection.replace_session, reason)


def _nobody(run: _Run) -> Outcome:
    if run.page == 0:
        return RejectedBatch("there is nobody who may be sent: remove the audience instead of replacing it")
    return RetryLater("nobody was left for the last page")
