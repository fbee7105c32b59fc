"""The line to one destination: batches in, an outcome per row out, within its rate, its rests and its breaker."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Final, NamedTuple

import structlog

from cdp_activation.breaker import BreakerPolicy, after_call, before_call, may_call
from cdp_activation.bucket import TokenBucket
from cdp_activation.destinations.destination import Batch, Config, Destination, HttpRequest, Row
from cdp_activation.ledger import DestinationState
from cdp_activation.outcome import (
    CallOutcome,
    Delivered,
    Misconfigured,
    Outcome,
    RejectedBatch,
    RejectedRow,
    RetryLater,
    Throttled,
    Unauthorized,
    Unknown,
)
from cdp_activation.ports import CallFailed, Calls, Directory
from cdp_runtime.clock import Clock
from cdp_runtime.faultpoints import reach
from cdp_runtime.metrics import ACTIVATION_CALL_SECONDS, ACTIVATION_CALLS

_log = structlog.get_logger(__name__)
# calls spent on finding the bad rows of one refused batch: enough for about ten of 10,000
_BISECT_CALLS: Final = 160
_TRIAL_ROWS: Final = 10


class LinePorts(NamedTuple):
    calls: Calls
    directory: Directory
    clock: Clock


class Line:
    """Used by one task at a time: the order of calls to a destination is the order of its work."""

    def __init__(
        self,
        state: DestinationState,
        destination: Destination,
        ports: LinePorts,
        *,
        bucket: TokenBucket,
        policy: BreakerPolicy,
        phone_region: str,
    ) -> None:
        self.state, self.destination = state, destination
        self._ports, self._bucket, self._policy, self._region = ports, bucket, policy, phone_region
        self._breaker = state.breaker
        self._until = state.throttled_until
        self._closed: Unauthorized | None = None

    @property
    def batch_size(self) -> int:
        """Rows per call."""
        largest = self.destination.entry.max_rows
        return min(int(self.state.settings.get("batchSize") or largest), largest)

    def rows_at_once(self, most: int) -> int:
        """Rows of the calls that may be made at once after a rest, as whole calls of ``most`` rows together.

        Preparing more takes longer than calls are saved up for.
        """
        calls = max(1, int(self._bucket.capacity))
        return min(calls * self.batch_size, most - most % self.batch_size or most)

    def config(self, audience: Mapping[str, object]) -> Config:
        """What the destination needs to build a call for one audience."""
        return Config(self.state.settings, self.state.credentials, audience, self._region)

    def blocked(self, now: datetime) -> Outcome | None:
        """Why no call may be made now; None when one may."""
        if self._closed is not None:
            return self._closed
        if self._until is not None and now < self._until:
            return Throttled(self._until)
        if not may_call(self._breaker, now):
            assert self._breaker.until is not None
            return Throttled(self._breaker.until, "the destination rests after failing repeatedly")
        return None

    async def deliver(self, batch: Batch, config: Config) -> dict[int, Outcome]:
        """The outcome of each row by its index. A batch refused as a whole is halved until the bad rows stand alone."""
        outcomes: dict[int, Outcome] = {}
        pending: list[Sequence[Row]] = [batch.rows]
        budget = _BISECT_CALLS
        while pending:
            rows = pending.pop()
            blocked = self.blocked(self._ports.clock.now())
            if blocked is not None:
                outcomes.update((row.index, blocked) for row in rows)
                continue
            if self._breaker.state != "closed" and len(rows) > _TRIAL_ROWS and batch.session is None:
                pending.append(rows[_TRIAL_ROWS:])
                rows = rows[:_TRIAL_ROWS]
            answer = await self.call(replace(batch, rows=rows), config)
            whole = answer.whole
            if isinstance(whole, RejectedBatch) and len(rows) > 1 and budget > 0 and batch.session is None:
                budget -= 2
                half = len(rows) // 2
                pending += [rows[half:], rows[:half]]
                continue
            alone = len(rows) == 1 and batch.session is None
            outcomes.update((row.index, _of_row(answer, row.index, alone=alone)) for row in rows)
        return _nothing_taken(outcomes, len(batch.rows))

    async def call(self, batch: Batch, config: Config) -> CallOutcome:
        """One call, timed, counted and remembered."""
        await self._turn()
        now = self._ports.clock.now()
        self._breaker = before_call(self._breaker, now)
        request = self.destination.build(batch, config, now)
        answer = await self._exchange(request, batch)
        await self._remember(answer)
        if isinstance(answer.whole, Delivered) and answer.whole.warning:
            told = {"destination": self.state.key.destination_id, "audience": batch.audience_id}
            _log.warning("delivered_with_warning", **told, warning=answer.whole.warning)
        kind = type(answer.whole).__name__.lower()
        ACTIVATION_CALLS.labels(self.state.type, batch.operation, kind).inc()
        return answer

    async def _turn(self) -> None:
        wait = self._bucket.take(self._ports.clock.monotonic())
        if wait > 0:
            await asyncio.sleep(wait)

    async def _exchange(self, request: HttpRequest, batch: Batch) -> CallOutcome:
        try:
            with ACTIVATION_CALL_SECONDS.labels(self.state.type).time():
                reach("activation.before-send")
                response = await self._ports.calls.send(request)
                reach("activation.after-send")
        except CallFailed as failure:
            if failure.forbidden:
                return CallOutcome(Misconfigured(str(failure)))
            return CallOutcome(Unknown(str(failure)) if failure.sent else RetryLater(str(failure)))
        return self.destination.read(response, batch, self._ports.clock.now())

    async def _remember(self, answer: CallOutcome) -> None:
        key, now = self.state.key, self._ports.clock.now()
        whole = answer.whole
        if isinstance(whole, Unauthorized):
            self._closed = whole
            await self._ports.directory.pause_destination(self.state, "unauthorized", whole.reason)
            _log.warning("destination_unauthorized", destination=key.destination_id, reason=whole.reason)
        until = whole.until if isinstance(whole, Throttled) else answer.rest_until
        if until is not None and until > now:
            self._until = until
            await self._ports.directory.rest(key, until)
        breaker = after_call(self._breaker, whole, now, self._policy)
        if (breaker.state, breaker.failures, breaker.until) != (
            self._breaker.state,
            self._breaker.failures,
            self._breaker.until,
        ) or breaker.state != self.state.breaker.state:
            await self._ports.directory.keep_breaker(key, breaker)
        if breaker.state == "open" and self._breaker.state != "open":
            _log.warning("breaker_opened", destination=key.destination_id, until=str(breaker.until))
        self._breaker = breaker


def _of_row(answer: CallOutcome, index: int, *, alone: bool) -> Outcome:
    """Only of a call with one row is it known which row was refused with it."""
    outcome = answer.of(index)
    return RejectedRow(outcome.reason) if alone and isinstance(outcome, RejectedBatch) else outcome


def _nothing_taken(outcomes: dict[int, Outcome], rows: int) -> dict[int, Outcome]:
    """A large batch of which all is refused, however it was cut, is refused for something else than its rows.

    What a pause or an outage left over says nothing of that.
    """
    refused = [outcome for outcome in outcomes.values() if isinstance(outcome, RejectedRow | RejectedBatch)]
    one_by_one = any(isinstance(outcome, RejectedRow) for outcome in refused)
    if rows < 2 * _TRIAL_ROWS or not one_by_one or len(refused) < len(outcomes):
        return outcomes
    return dict.fromkeys(outcomes, Misconfigured(f"not one of {rows} rows was taken: {refused[0].reason}"))
