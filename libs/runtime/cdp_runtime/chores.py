"""Work beside a stream -> done again after a pause, for as long as the process lives; an outage only slows it down."""

import asyncio
import time
from collections.abc import Awaitable, Callable

import structlog

from cdp_clickhouse.errors import StoreUnavailable
from cdp_eventlog.log import LogUnavailable
from cdp_eventlog.waiting import is_set_within
from cdp_runtime.postgres import retryable

_log = structlog.get_logger(__name__)

Chore = Callable[[], Awaitable[None]]


async def every(seconds: float, chore: Chore, stopping: asyncio.Event, *, sooner: asyncio.Event | None = None) -> None:
    """Until ``stopping``, which is set together with ``sooner``: that one cuts a pause short.

    Raises what no waiting would cure.
    """
    while not stopping.is_set():
        try:
            await chore()
        except Exception as error:
            if stopping.is_set():
                return
            if not (retryable(error) or isinstance(error, LogUnavailable | StoreUnavailable)):
                raise
            _log.warning("chore_waits", chore=chore.__name__, reason=str(error))
            await is_set_within(stopping, 1.0)
        await is_set_within(sooner or stopping, seconds)


async def sparingly(chore: Chore, until: asyncio.Event, *, longest: float) -> None:
    """What goes through everything there is, for a twentieth of the time: it rests nineteen times as long as it took,
    ``longest`` seconds at most, or until the event."""
    started = time.monotonic()
    await chore()
    await is_set_within(until, min(19 * (time.monotonic() - started), longest))
