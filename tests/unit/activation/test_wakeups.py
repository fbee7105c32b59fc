"""Idle loops sleep long, and what happens meanwhile wakes them: polls are set so long here that only wake-ups count."""

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime
from typing import Any, cast

from cdp_activation.deliver import Deliverer
from cdp_activation.ledger import ConnectionKey, DestinationKey
from cdp_activation.policies import Policies, WorkerPorts
from cdp_activation.upkeep import Upkeep
from tests.fakes.activation import FakeFollowing, FakeOutbox, FakeSweep

NEVER = 1e6
KEY = DestinationKey("demo", "facebook")


@asynccontextmanager
async def running(work: Awaitable[None], stop: Callable[[], Any]) -> AsyncIterator[None]:
    task = asyncio.ensure_future(work)
    async with asyncio.timeout(10):
        yield
        stopped = stop()
        if stopped is not None:
            await stopped
        await task


class Waiting:
    """Directory, holdings and clock in one: always due, and held by the test until it lets go."""

    def __init__(self) -> None:
        self.looks, self.holds = asyncio.Semaphore(0), asyncio.Semaphore(0)
        self.free = asyncio.Semaphore(0)

    def now(self) -> datetime:
        return datetime(2026, 11, 20, tzinfo=UTC)

    async def due(self, now: datetime) -> list[DestinationKey]:
        self.looks.release()
        return [KEY]

    async def hold(self, key: DestinationKey) -> bool:
        self.holds.release()
        await self.free.acquire()
        return True

    async def let_go(self, key: DestinationKey) -> None:
        return None

    async def destination(self, key: DestinationKey) -> None:
        return None


async def test_reports_are_published_as_soon_as_they_are_written() -> None:
    outbox, told = FakeOutbox(), asyncio.Event()
    upkeep = Upkeep(FakeSweep(), FakeFollowing(), cast(Any, None), outbox, wake=lambda: None, told=told)
    async with running(upkeep.run(poll_seconds=NEVER, sweep_seconds=NEVER), upkeep.stop):
        await outbox.empty.wait()
        outbox.put(2)
        told.set()
        await outbox.empty.wait()


class Large(FakeSweep):
    """Audiences that take a moment to go through."""

    def __init__(self) -> None:
        super().__init__()
        self.began: list[float] = []

    async def connections(self, *, flagged: bool) -> dict[ConnectionKey, str]:
        if not flagged:
            self.began.append(asyncio.get_running_loop().time())
            await asyncio.sleep(0.05)
        return {}


async def test_the_larger_the_audiences_the_less_often_are_they_all_gone_through() -> None:
    store = Large()
    upkeep = Upkeep(store, FakeFollowing(), cast(Any, None), FakeOutbox(), wake=lambda: None, told=asyncio.Event())
    async with running(upkeep.run(poll_seconds=NEVER, sweep_seconds=0.001), upkeep.stop):
        while len(store.began) < 2:
            await asyncio.sleep(0.01)
    first, second = store.began
    assert second - first >= 20 * 0.05


async def test_what_became_due_during_a_task_is_looked_at_when_the_task_ends() -> None:
    world = Waiting()
    ports = cast(WorkerPorts, cast(Any, _Ports(world)))
    deliverer = Deliverer(ports, Policies(poll_seconds=NEVER))
    async with running(deliverer.run(), deliverer.stop):
        await world.looks.acquire()
        await world.holds.acquire()
        deliverer.wake()
        await world.looks.acquire()
        assert world.holds.locked()  # its task is still at work: no second one beside it
        world.free.release()
        await world.looks.acquire()
        await world.holds.acquire()
        world.free.release()


class _Ports:
    def __init__(self, world: Waiting) -> None:
        self.directory = self.holdings = self.clock = world
        self.ledger = self.profiles = self.calls = self.keyring = None
