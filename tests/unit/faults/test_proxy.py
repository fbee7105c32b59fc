"""The proxy does to bytes what it is told, and nothing else."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from faults.proxy import Proxies, Proxy, Trouble


@pytest.fixture
async def seen() -> list[bytes]:
    """What the server got."""
    return []


@pytest.fixture
async def proxy(seen: list[bytes]) -> AsyncIterator[Proxy]:
    """In front of a server that answers each chunk with ``ok:`` and the chunk."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(1000):
                seen.append(data)
                writer.write(b"ok:" + data)
        except ConnectionError:
            pass
        finally:
            writer.close()

    server = await asyncio.start_server(answer, "127.0.0.1", 0)
    made = Proxy(server.sockets[0].getsockname()[1])
    await made.start()
    yield made
    await made.stop()
    server.close()


async def ask(proxy: Proxy, data: bytes) -> bytes:
    """One request on a connection of its own. Raises OSError when it is broken, TimeoutError when nothing comes."""
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    try:
        writer.write(data)
        answer = await asyncio.wait_for(reader.read(1000), 1.0)
        if not answer:
            raise ConnectionResetError
        return answer
    finally:
        writer.close()


async def test_without_trouble_bytes_go_through(proxy: Proxy) -> None:
    assert await ask(proxy, b"hello") == b"ok:hello"


async def test_a_lost_reply_reaches_the_server_once_and_the_client_never(proxy: Proxy, seen: list[bytes]) -> None:
    proxy.trouble = Trouble(lose_reply_to=lambda data: b"COMMIT" in data, times=1)
    assert await ask(proxy, b"SELECT") == b"ok:SELECT"
    with pytest.raises(ConnectionError):
        await ask(proxy, b"COMMIT")
    assert seen[-1] == b"COMMIT"
    assert await ask(proxy, b"COMMIT") == b"ok:COMMIT"
    assert proxy.struck == 1


async def test_a_connection_is_cut_after_so_many_bytes(proxy: Proxy) -> None:
    proxy.trouble = Trouble(cut_after=("up", 3), times=1)
    with pytest.raises(ConnectionError):
        await ask(proxy, b"hello")
    assert await ask(proxy, b"hello") == b"ok:hello"


async def test_a_black_hole_answers_nothing(proxy: Proxy, seen: list[bytes]) -> None:
    proxy.trouble = Trouble(swallows=True)
    with pytest.raises(TimeoutError):
        await ask(proxy, b"hello")
    assert seen == []


async def test_a_cut_refuses_and_breaks(proxy: Proxy) -> None:
    reader, writer = await asyncio.open_connection("127.0.0.1", proxy.port)
    writer.write(b"a")
    assert await reader.read(10) == b"ok:a"
    proxy.trouble = Trouble(refuses=True)
    proxy.reset()
    with pytest.raises(ConnectionError):
        if not await reader.read(10):
            raise ConnectionResetError
    writer.close()
    with pytest.raises(ConnectionError):
        await ask(proxy, b"hello")


async def test_latency_is_added_in_both_directions(proxy: Proxy) -> None:
    proxy.trouble = Trouble(latency_s=0.1)
    began = time.monotonic()
    assert await ask(proxy, b"hello") == b"ok:hello"
    assert time.monotonic() - began >= 0.2


@pytest.mark.parametrize(
    "trouble",
    [
        Trouble(latency_s=0.01),
        Trouble(refuses=True),
        Trouble(swallows=True),
        Trouble(cut_after=("down", 2), times=1),
        Trouble(lose_reply_to=lambda data: data == b"hello", times=1),
    ],
    ids=["late", "refused", "swallowed", "cut", "reply lost"],
)
async def test_a_trouble_knows_whether_it_met_somebody(proxy: Proxy, trouble: Trouble) -> None:
    proxy.trouble = trouble
    assert trouble.struck == 0
    with suppress(OSError, TimeoutError):
        await ask(proxy, b"hello")
    assert trouble.struck > 0


async def test_whom_a_cut_refuses_is_counted(proxy: Proxy, seen: list[bytes]) -> None:
    proxies = Proxies()
    try:
        front = proxies.before(proxy.port)
        cut = proxies.cut(front)
        with pytest.raises(ConnectionError):
            await ask(front, b"hello")
        assert cut.struck == 1 and seen == []
    finally:
        proxies.close()
