"""The counts of accepted events -> their table, every second and at the end; limits -> what other gateways spent."""

import asyncio
from datetime import timedelta
from typing import Final

from cdp_ingest.counts import AcceptedCounts
from cdp_ingest.ports import AcceptedTable, SharedSpending
from cdp_ingest.quota import Limiter
from cdp_runtime.clock import Clock
from cdp_runtime.logs import get_logger

_log = get_logger(__name__)
KEPT: Final = timedelta(days=35)  # counts per minute are for accounting of the last month


class CountRecorder:
    """Writes what changed; while the table is away the counts wait in memory, and the last write tries for longer."""

    def __init__(self, counts: AcceptedCounts, table: AcceptedTable, clock: Clock, *, every: float = 1.0) -> None:
        self._counts, self._table, self._clock, self._every = counts, table, clock, every
        self._fault: str | None = None
        self._forget_at = clock.now()

    async def run(self) -> None:
        """Until it is cancelled."""
        while True:
            await asyncio.sleep(self._every)
            if await self.flush() and self._clock.now() >= self._forget_at:
                await self._forget()

    async def flush(self) -> bool:
        """Writes all that changed; False when the table did not take it."""
        rows = self._counts.changed()
        if not rows:
            return True
        try:
            await self._table.record(rows)
        except OSError as error:
            if self._fault is None:
                _log.warning("accepted_counts_wait", reason=str(error), rows=len(rows))
            self._fault = str(error)
            return False
        self._fault = None
        self._counts.written(rows, self._clock.now())
        return True

    async def _forget(self) -> None:
        now = self._clock.now()
        try:
            await self._table.forget(now - KEPT)
        except OSError:
            return
        self._forget_at = now + timedelta(hours=1)

    async def finish(self, deadline: float = 10.0) -> None:
        """The last write; gives up with an error line after ``deadline`` seconds."""
        end = self._clock.monotonic() + deadline
        while not await self.flush():
            if self._clock.monotonic() > end:
                _log.error("accepted_counts_lost", rows=len(self._counts.changed()), reason=self._fault)
                return
            await asyncio.sleep(0.2)


class LimitSharer:
    """Exchanges spending with the other gateways; while that is impossible each gateway limits alone."""

    def __init__(self, limiter: Limiter, spending: SharedSpending, *, every: float = 0.5) -> None:
        self._limiter, self._spending, self._every = limiter, spending, every

    async def run(self) -> None:
        """Until it is cancelled."""
        alone = False
        while True:
            await asyncio.sleep(self._every)
            spent = self._limiter.take_spent()
            try:
                others = await self._spending.exchange(spent)
            except OSError as error:
                if not alone:
                    _log.warning("limits_not_shared", reason=str(error))
                alone = True
                continue
            alone = False
            for source, events in others.items():
                self._limiter.charge(source, events)
