"""One writer per destination: what a session of Postgres holds is lost with it, whatever session follows."""

import asyncio
from collections.abc import AsyncIterator

import pytest

from cdp_activation.adapters.postgres_holdings import PostgresHoldings
from cdp_activation.destinations.destination import HttpRequest, HttpResponse
from cdp_activation.ledger import DestinationKey

from .conftest import World

pytestmark = pytest.mark.postgres


@pytest.fixture
async def one(migrated: str) -> AsyncIterator[PostgresHoldings]:
    """As one process has it."""
    holdings = PostgresHoldings(migrated)
    yield holdings
    await holdings.stop()


other = one  # another process


async def end_sessions(world: World) -> None:
    """As a server that restarts, or an operator, does it."""
    await world.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity WHERE application_name = 'activation-holdings'"
    )


async def test_tasks_that_connect_at_the_same_time_share_a_session(
    world: World, one: PostgresHoldings, other: PostgresHoldings
) -> None:
    keys = [DestinationKey(world.workspace, name) for name in "abcd"]
    assert await asyncio.gather(*map(one.hold, keys)) == [True] * 4
    assert [await other.hold(key) for key in keys] == [False] * 4
    await one.let_go(keys[0])
    assert [await other.hold(key) for key in keys] == [True, False, False, False]


async def test_a_holding_ends_with_the_session_it_was_taken_in(
    world: World, one: PostgresHoldings, other: PostgresHoldings
) -> None:
    a, b = DestinationKey(world.workspace, "a"), DestinationKey(world.workspace, "b")
    assert await one.hold(a) and await one.healthy(a)
    await end_sessions(world)
    assert not await one.healthy(a)
    assert await one.hold(b) and await one.healthy(b)
    assert not await one.healthy(a), "the session that followed holds b alone"
    assert await other.hold(a)
    await one.let_go(a)
    assert await other.healthy(a) and not await one.hold(a)


class Gate:
    """A receiver that keeps the first call waiting."""

    def __init__(self) -> None:
        self.calls, self.first, self.go = 0, asyncio.Event(), asyncio.Event()

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.calls += 1
        self.first.set()
        await self.go.wait()
        return HttpResponse(204, {}, b"")


async def test_a_worker_makes_no_more_calls_to_what_it_lost(world: World, other: PostgresHoldings) -> None:
    destination = await world.destination("webhook")
    await world.audience(destination)
    await world.enter(*[world.person(f"person-{n}") for n in range(5)])
    key, gate = DestinationKey(world.workspace, destination), Gate()
    async with world.working(gate, rows_per_round=1) as deliverer:
        await gate.first.wait()
        await end_sessions(world)
        assert await other.hold(key), "another process takes over"
        lost = next(iter(deliverer._tasks.values()))
        gate.go.set()
        await lost
        assert gate.calls == 1
        await other.let_go(key)
        await world.settled()
    assert gate.calls == 5
