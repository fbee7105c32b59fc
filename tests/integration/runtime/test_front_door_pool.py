"""A pool of the front door shows one workspace, never the one of who was there before, and nothing to nobody."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable

import psycopg
import pytest
from tests.databases import fresh_database, front_door

from cdp_runtime.postgres import Pool, front_door_pool, front_door_statements, lazy_pool, statement_pool
from cdp_runtime.tenancy import enter_workspace, leave_workspace

ROWS = "SELECT workspace_id FROM ingest.accepted ORDER BY 1"


@pytest.fixture(scope="module")
async def url(postgres_url: str) -> str:
    """Of a database with one count of each of ada's and bob's, and one of an event without a workspace."""
    url = await fresh_database(postgres_url, "front_door_pool_test")
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for workspace in ("ada", "bob", ""):
            await connection.execute("INSERT INTO ingest.accepted VALUES (%s, 's', now(), 'r', 1)", [workspace])
    return url


@pytest.fixture(params=[front_door_pool, front_door_statements])
async def pool(url: str, request: pytest.FixtureRequest) -> AsyncIterator[Pool]:
    """One connection, so that each of its users follows another."""
    async with front_door(url, name="front-door-test", max_size=1, make=request.param) as pool:
        yield pool


async def seen(pool: Pool) -> list[str]:
    async with pool.connection() as connection:
        return [row[0] for row in await (await connection.execute(ROWS)).fetchall()]


async def seen_as(pool: Pool, workspace: str) -> list[str]:
    enter_workspace(workspace)
    return await seen(pool)


async def backend(pool: Pool) -> int:
    async with pool.connection() as connection:
        return connection.info.backend_pid


async def test_each_sees_its_own_and_nobody_sees_nothing(pool: Pool) -> None:
    assert await seen(pool) == []  # never said
    for workspace in ("ada", "bob", "ada"):
        assert await seen_as(pool, workspace) == [workspace]
        leave_workspace()
        assert await seen(pool) == []  # said before: the setting is '' now, which is no workspace either


async def test_the_connection_is_no_owner_and_the_pool_of_the_services_is(pool: Pool, url: str) -> None:
    async with pool.connection() as connection:
        row = await (await connection.execute("SELECT current_user, session_user")).fetchone()
    assert row == ("cdp_front_door", "cdp")
    async with lazy_pool(url, name="owners-test") as owners:
        assert await seen_as(owners, "ada") == ["", "ada", "bob"]


@pytest.mark.parametrize("levels", [3, 300])
async def test_json_is_read_however_deep(pool: Pool, levels: int) -> None:
    text = '{"a":' * levels + "1e30" + "}" * levels
    async with pool.connection() as connection:
        row = await (await connection.execute("SELECT %s::jsonb", [text])).fetchone()
    assert row is not None
    assert str(row[0]) == str(json.loads(text)).replace("1e+30", str(10**30))


async def test_an_error_leaves_nobody_behind(pool: Pool) -> None:
    enter_workspace("ada")
    process = await backend(pool)
    with pytest.raises(psycopg.errors.DivisionByZero):
        async with pool.connection() as connection:
            await connection.execute("SELECT 1 / 0")
    with pytest.raises(RuntimeError):
        async with pool.connection():
            raise RuntimeError("a bug in a handler")
    leave_workspace()
    assert await seen(pool) == []
    assert await seen_as(pool, "bob") == ["bob"]
    assert await backend(pool) == process


@pytest.mark.parametrize("statement", ["SELECT pg_sleep(30)", ROWS])
async def test_a_cancelled_request_leaves_nobody_behind(pool: Pool, statement: str) -> None:
    working = asyncio.Event()

    async def request() -> None:
        enter_workspace("ada")
        async with pool.connection() as connection:
            working.set()
            await connection.execute(statement)
            await asyncio.sleep(30)

    task = asyncio.create_task(request())
    await working.wait()
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert await seen(pool) == []
    assert await seen_as(pool, "bob") == ["bob"]


async def test_a_commit_in_between_ends_it_too(url: str) -> None:
    async with front_door(url, name="front-door-test", max_size=1) as pool:
        enter_workspace("ada")
        async with pool.connection() as connection:
            await connection.commit()
            assert await (await connection.execute(ROWS)).fetchall() == []


@pytest.mark.parametrize("make", [front_door_statements, statement_pool])
async def test_a_connection_that_the_server_has_ended_is_replaced(url: str, make: Callable[..., Pool]) -> None:
    async with front_door(url, name="front-door-test", max_size=1, make=make) as pool:
        enter_workspace("ada")
        ended = await backend(pool)
        async with await psycopg.AsyncConnection.connect(url) as administrator:
            await administrator.execute("SELECT pg_terminate_backend(%s, 5000)", [ended])
        assert "ada" in await seen(pool)
        assert await backend(pool) != ended


@pytest.mark.parametrize("make", [front_door_pool, front_door_statements])
async def test_requests_side_by_side_do_not_meet(url: str, make: Callable[..., Pool]) -> None:
    async def request(pool: Pool, workspace: str) -> None:
        for _ in range(20):
            assert await seen_as(pool, workspace) == [workspace]

    async with front_door(url, name="front-door-test", max_size=3, make=make) as pool:
        await asyncio.gather(*(request(pool, workspace) for workspace in ("ada", "bob") * 6))
        assert await seen(pool) == []  # what the others entered stayed with them


async def test_a_connection_that_died_is_replaced_and_confined_again(pool: Pool, url: str) -> None:
    enter_workspace("ada")
    process = await backend(pool)
    async with await psycopg.AsyncConnection.connect(url, autocommit=True) as connection:
        await connection.execute("SELECT pg_terminate_backend(%s, 5000)", [process])
    assert await seen(pool) == ["ada"]
    assert await backend(pool) != process
