"""Who waits for an event can be told to stop at any moment, and hears of the event in time."""

import asyncio

import pytest

from cdp_eventlog.waiting import is_set_within


async def test_an_event_ends_the_wait_and_so_does_time() -> None:
    event = asyncio.Event()
    assert not await is_set_within(event, 0.01)
    asyncio.get_running_loop().call_soon(event.set)
    assert await is_set_within(event, 60)
    assert await is_set_within(event, 0)


@pytest.mark.parametrize("turns", range(6))
async def test_a_cancellation_is_not_lost_however_soon_after_the_event_it_comes(turns: int) -> None:
    event = asyncio.Event()

    async def waits_twice() -> None:
        await is_set_within(event, 60)
        await asyncio.sleep(60)

    task = asyncio.create_task(waits_twice())
    await asyncio.sleep(0.01)
    event.set()
    for _ in range(turns):
        await asyncio.sleep(0)
    task.cancel()
    await asyncio.wait({task}, timeout=0.1)
    assert task.cancelled()
