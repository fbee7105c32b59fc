"""Calls that fail while something is down -> calls that wait, until they succeed or the process stops."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from cdp_clickhouse.errors import StoreError
from cdp_eventlog.log import LogUnavailable
from cdp_identity.recording.ports import LedgerUnavailable
from cdp_runtime.backoff import Backoff
from cdp_runtime.logs import get_logger

T = TypeVar("T")
_log = get_logger(__name__)
_DEPENDENCIES: Final[dict[type[Exception], str]] = {
    StoreError: "clickhouse",
    LedgerUnavailable: "postgres",
    LogUnavailable: "kafka",
}
TRANSIENT: Final = tuple(_DEPENDENCIES)


class Stopping(Exception):
    """The process stops while something is down: the open batch is abandoned, its intents stay open."""


class Patience:
    """Waits out what is down. An outage is never a reason to drop or dead-letter anything."""

    def __init__(self, backoff: Backoff | None = None) -> None:
        self._backoff = backoff or Backoff(base=0.2, cap=10.0)
        self._stop = asyncio.Event()
        self._faults: dict[str, str] = {}

    def stop(self) -> None:
        """From now on waiting ends with Stopping."""
        self._stop.set()

    def faults(self) -> dict[str, str]:
        """Dependency -> why the recorder is waiting for it."""
        return dict(self._faults)

    async def until_done(
        self, call: Callable[[], Awaitable[T]], *, but: type[Exception] | tuple[type[Exception], ...] = ()
    ) -> T:
        """The call's result, however often it fails before. Raises Stopping, and at once what is in ``but``."""
        attempt = 0
        while True:
            try:
                result = await call()
            except but:
                raise
            except TRANSIENT as error:
                await self.after(error, attempt)
                attempt += 1
            else:
                self._faults.clear()
                return result

    async def after(self, error: Exception, attempt: int) -> None:
        """Wait as long as this failure asks for. Raises Stopping."""
        dependency = next(name for kind, name in _DEPENDENCIES.items() if isinstance(error, kind))
        pause = self._backoff.delay(attempt)
        self._faults[dependency] = f"{dependency} does not take the recorder's work: {error}"
        _log.warning("recorder_waits", dependency=dependency, reason=str(error), seconds=round(pause, 2))
        if self._stop.is_set():
            raise Stopping
        try:
            await asyncio.wait_for(self._stop.wait(), pause)
        except TimeoutError:
            return
        raise Stopping
