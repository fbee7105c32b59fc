"""What is repeated beside a stream: outages slow it down, mistakes end it, and nobody waits for a pause to end."""

import asyncio
from collections.abc import Callable

import pytest

from cdp_clickhouse.errors import StoreUnavailable
from cdp_eventlog.log import LogUnavailable
from cdp_runtime.chores import every

NEVER = 1e6


class Chore:
    """Fails as often as it is told to, and stops everything at its last call."""

    def __init__(self, stop: Callable[[], None], *failures: Exception, last: int) -> None:
        self._stop, self._failures, self._last, self.done = stop, list(failures), last, 0

    async def __call__(self) -> None:
        self.done += 1
        if self.done == self._last:
            self._stop()
        if self._failures:
            raise self._failures.pop(0)

    __name__ = "chore"


@pytest.mark.parametrize("outage", [ConnectionError("away"), LogUnavailable("away"), StoreUnavailable("away", 0)])
async def test_an_outage_is_waited_for(outage: Exception) -> None:
    stopping = asyncio.Event()
    chore = Chore(stopping.set, outage, last=2)
    async with asyncio.timeout(10):
        await every(0.001, chore, stopping)
    assert chore.done == 2


async def test_what_no_waiting_would_cure_ends_it() -> None:
    stopping = asyncio.Event()
    with pytest.raises(ValueError, match="no such column"):
        await every(NEVER, Chore(stopping.set, ValueError("no such column"), last=9), stopping)


async def test_what_fails_because_all_is_being_stopped_is_nobodys_fault() -> None:
    stopping = asyncio.Event()
    chore = Chore(stopping.set, ValueError("the pool is closed"), last=1)
    await every(NEVER, chore, stopping)
    assert chore.done == 1


async def test_a_pause_is_cut_short() -> None:
    stopping, sooner = asyncio.Event(), asyncio.Event()
    chore = Chore(stopping.set, last=2)
    async with asyncio.timeout(10), asyncio.TaskGroup() as group:
        group.create_task(every(NEVER, chore, stopping, sooner=sooner))
        while chore.done < 1:
            await asyncio.sleep(0)
        sooner.set()
    assert chore.done == 2
