"""Calls that fail while something is down -> calls that wait, until they succeed or the process stops."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

from cdp_eventlog.waiting import is_set_within
from cdp_runtime.backoff import Backoff
from cdp_runtime.logs import get_logger

T = TypeVar("T")
_log = get_logger(__name__)


class Stopping(Exception):
    """The process stops while something is down: the work is abandoned, and what is not committed comes again."""


class Patience:
    """Waits out what is down. An outage is never a reason to drop or dead-letter anything.

    ``who`` waits; ``dependencies`` are the failures that are waited for, each with the name of what is down.
    Where that is any Exception, a failure that nobody foresaw is told with its traceback.
    """

    def __init__(self, who: str, dependencies: Mapping[type[Exception], str], backoff: Backoff | None = None) -> None:
        self._who, self._dependencies, self._transient = who, dependencies, tuple(dependencies)
        self._backoff = backoff or Backoff(base=0.2, cap=10.0)
        self._stop = asyncio.Event()
        self.reasons: dict[str, str] = {}  # dependency -> the failure that is being waited out

    def stop(self) -> None:
        """From now on waiting ends with Stopping."""
        self._stop.set()

    def faults(self) -> dict[str, str]:
        """Dependency -> why it is waited for, for /readyz."""
        return {name: f"{name} does not take the {self._who}'s work: {why}" for name, why in self.reasons.items()}

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
            except self._transient as error:
                await self.after(error, attempt)
                attempt += 1
            else:
                self.reasons.clear()
                return result

    async def after(self, error: Exception, attempt: int) -> None:
        """Wait as long as this failure asks for. Raises Stopping."""
        kind = next(kind for kind in self._transient if isinstance(error, kind))
        pause = self._backoff.delay(attempt)
        self.reasons[self._dependencies[kind]] = str(error)
        _log.warning(
            f"{self._who}_waits",
            dependency=self._dependencies[kind],
            reason=str(error),
            seconds=round(pause, 2),
            **({"exc_info": error} if kind is Exception else {}),
        )
        if await is_set_within(self._stop, pause):
            raise Stopping(str(error))
