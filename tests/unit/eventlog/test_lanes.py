"""Lanes: keys do not wait for one another, and what comes while a key is busy is its next batch."""

import asyncio

from cdp_eventlog.lanes import Lanes


class Handling:
    """A handler whose batches end when a test says so."""

    def __init__(self) -> None:
        self.begun: list[tuple[str, list[int]]] = []
        self._ends: dict[str, asyncio.Event] = {}

    async def __call__(self, key: str, items: list[int]) -> None:
        self.begun.append((key, items))
        await self._end(key).wait()
        self._end(key).clear()

    def end(self, key: str) -> None:
        self._end(key).set()

    def _end(self, key: str) -> asyncio.Event:
        return self._ends.setdefault(key, asyncio.Event())


async def turns() -> None:
    """Everything that can go on has gone on."""
    for _ in range(10):
        await asyncio.sleep(0)


async def test_a_busy_key_gathers_its_next_batch_and_holds_no_other_up() -> None:
    handling = Handling()
    async with asyncio.TaskGroup() as running:
        lanes = Lanes(handling, running, 3)
        lanes.put("slow", 0)
        await turns()
        for number in range(1, 6):
            lanes.put("slow", number)
        lanes.put("quick", 0)
        await turns()
        assert handling.begun == [("slow", [0]), ("quick", [0])]
        handling.end("quick")
        for _ in range(3):  # the batch that is on, and two of what gathered meanwhile
            handling.end("slow")
            await turns()
    assert handling.begun[2:] == [("slow", [1, 2, 3]), ("slow", [4, 5])]


async def test_a_lane_that_ran_empty_begins_again() -> None:
    handling = Handling()
    async with asyncio.TaskGroup() as running:
        lanes = Lanes(handling, running, 3)
        for number in range(2):
            lanes.put("key", number)
            await turns()
            handling.end("key")
            await turns()
    assert handling.begun == [("key", [0]), ("key", [1])]
