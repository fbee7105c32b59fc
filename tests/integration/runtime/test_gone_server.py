"""A Postgres that hangs, or is gone without a word, is noticed; a process that is gone holds no lock for long."""

import asyncio
import socket
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, suppress
from urllib.parse import urlsplit

import pytest

from cdp_runtime import postgres
from cdp_runtime.postgres import (
    Connection,
    Pool,
    front_door_pool,
    front_door_statements,
    lazy_pool,
    lone_session,
    pool_fault,
    statement_pool,
)


class Swallower:
    """A TCP proxy that keeps connections open and, once told so, lets nothing through."""

    def __init__(self) -> None:
        self.passes = asyncio.Event()
        self.passes.set()

    @asynccontextmanager
    async def before(self, url: str) -> AsyncIterator[str]:
        address = urlsplit(url)

        async def relay(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            with suppress(ConnectionError):
                while data := await reader.read(65536):
                    await self.passes.wait()
                    writer.write(data)
            writer.close()

        async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            onwards, back = await asyncio.open_connection(address.hostname, address.port)
            await asyncio.gather(relay(reader, back), relay(onwards, writer))

        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        yield address._replace(netloc=f"{address.username}:{address.password}@127.0.0.1:{port}").geturl()
        self.passes.set()
        server.close()


async def test_a_server_that_hangs_does_not_answer(postgres_url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(postgres, "_HANGS_AFTER", 0.5)
    swallower = Swallower()
    async with swallower.before(postgres_url) as url, lazy_pool(url, name="hangs", max_size=1) as pool:
        assert await pool_fault(pool) is None
        swallower.passes.clear()
        async with asyncio.timeout(20):
            assert "does not answer" in (await pool_fault(pool) or "")
        swallower.passes.set()


@pytest.mark.parametrize("make", [lazy_pool, statement_pool, front_door_pool, front_door_statements])
async def test_either_side_notices_within_seconds_that_the_other_is_gone(
    postgres_url: str, make: Callable[..., Pool]
) -> None:
    async with make(postgres_url, name="gone", max_size=1) as pool, pool.connection() as connection:
        with socket.fromfd(connection.fileno(), socket.AF_INET, socket.SOCK_STREAM) as tcp:
            assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_KEEPIDLE) == 5
            assert tcp.getsockopt(socket.IPPROTO_TCP, socket.TCP_USER_TIMEOUT) == 20_000
        assert await server_waits(connection) == "5"


async def test_what_the_url_says_of_it_holds(postgres_url: str) -> None:
    async with await lone_session(f"{postgres_url}?keepalives_idle=60", name="patient") as connection:
        assert connection.info.get_parameters()["keepalives_idle"] == "60"


async def test_a_lock_is_not_held_for_long_by_who_is_gone(postgres_url: str) -> None:
    async with await lone_session(postgres_url, name="holder") as connection:
        assert await server_waits(connection) == "5"


async def server_waits(connection: Connection) -> str:
    (seconds,) = await (await connection.execute("SHOW tcp_keepalives_idle")).fetchone() or ("",)
    return str(seconds)
