"""What the front door does without being asked: note token uses, forget what is old, watch its stores."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Final

from cdp_analytics_api.ports import AuditLog, EventStore, KeptAnswers, Quarantine
from cdp_analytics_api.tokens import TokenAuthenticator
from cdp_clickhouse.errors import StoreError
from cdp_clickhouse.statement import Statement
from cdp_runtime.backoff import Backoff
from cdp_runtime.clock import Clock
from cdp_runtime.logs import get_logger
from cdp_runtime.postgres import Pool, pool_fault

# as long as the dead-letter topic itself keeps them
QUARANTINED_FOR: Final = timedelta(days=30)
Work = Callable[[], Awaitable[None]]
_log = get_logger(__name__)


async def supervised(name: str, work: Work) -> None:
    """Runs ``work`` until it ends well or is cancelled; after a failure again, with growing pauses."""
    attempt = 0
    while True:
        try:
            return await work()
        except Exception:
            pause = Backoff(cap=15.0).delay(attempt)
            _log.exception("work_interrupted", work=name, seconds=round(pause, 1))
            attempt += 1
            await asyncio.sleep(pause)


async def every(seconds: float, work: Work) -> None:
    """``work`` now and then again; a failure waits for the next turn."""
    while True:
        try:
            await work()
        except Exception as error:
            _log.warning("chore_failed", reason=str(error) or type(error).__name__)
        await asyncio.sleep(seconds)


class Watch:
    """Asks both stores every few seconds, so that readiness does not depend on traffic."""

    def __init__(self, pool: Pool, store: EventStore) -> None:
        self._pool, self._store = pool, store
        self.faults: dict[str, str] = {"postgres": "not asked yet", "clickhouse": "not asked yet"}

    async def look(self) -> None:
        faults = {"postgres": await pool_fault(self._pool), "clickhouse": await self._clickhouse()}
        self.faults = {name: fault for name, fault in faults.items() if fault is not None}

    async def _clickhouse(self) -> str | None:
        try:
            await self._store.rows(Statement("SELECT 1"))
        except StoreError as error:
            return f"ClickHouse does not answer: {error.message}"
        return None


@dataclass(frozen=True, slots=True)
class Kept:
    """What is kept for a time."""

    answers: KeptAnswers
    quarantine: Quarantine
    audit: AuditLog
    audit_days: int

    async def forget(self, now: datetime) -> None:
        """Removes what is older than its time; ``audit_days`` 0 is for ever."""
        await self.answers.purge(now)
        await self.quarantine.purge(now - QUARANTINED_FOR)
        if self.audit_days:
            await self.audit.purge(now - timedelta(days=self.audit_days))


def chores(authenticator: TokenAuthenticator, kept: Kept, watch: Watch, clock: Clock) -> dict[str, Work]:
    """All of it by name, each running until cancelled."""
    return {
        "token uses": lambda: every(10.0, authenticator.note_uses),
        "what is old": lambda: every(3600.0, lambda: kept.forget(clock.now())),
        "watch": lambda: every(2.0, watch.look),
    }
