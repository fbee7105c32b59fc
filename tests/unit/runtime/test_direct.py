"""Requests that reach their application without ASGI: which ones do, in which order, and what ends a connection."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.unit.runtime.test_server import Direct, Line, echo

from cdp_runtime.exchange import read_head
from cdp_runtime.server import HttpServer

HEAD = b"POST /whole?a=b HTTP/1.1\r\nHost: x\r\nX-Name: One\r\nContent-Length: 2\r\n\r\n"


def post(body: bytes, path: bytes = b"/whole", more: bytes = b"") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (path, more, len(body), body)


@pytest.fixture
def direct() -> Direct:
    return Direct()


@pytest.fixture
async def server(direct: Direct) -> AsyncIterator[HttpServer]:
    server = HttpServer(echo, "127.0.0.1", 0, variable="PORT", direct=direct)
    yield server
    direct.go.set()
    await server.stop()


@pytest.fixture
async def line(server: HttpServer) -> AsyncIterator[Line]:
    line = Line(*await asyncio.open_connection("127.0.0.1", server.start()))
    yield line
    line.writer.close()
    await line.closed


def test_a_head_is_read_once_for_all_who_send_the_same() -> None:
    head = read_head(HEAD)
    assert head is not None
    assert (head.path, head.query, head.length) == ("/whole", b"a=b", 2)
    assert head.headers == {b"host": b"x", b"x-name": b"One", b"content-length": b"2"}
    assert read_head(bytes(bytearray(HEAD))) is head


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b"POST", b"GET"),
        (b"POST", b"P()ST"),
        (b"1.1", b"1.0"),
        (b"Length: 2", b"Length: 0"),
        (b"Length: 2", b"Length: -2"),
        (b"Length: 2", b"Length: 2\r\nContent-Length: 2"),
        (b"Content-Length: 2", b"Transfer-Encoding: chunked"),
        (b"Content-Length: 2", b"Content-Length: 2\r\nTransfer-Encoding: chunked"),
        (b"X-Name: One", b"Expect: 100-continue"),
        (b"X-Name: One", b"Connection: close"),
        (b"X-Name: One", b"Connection: Upgrade\r\nUpgrade: websocket"),
        (b"X-Name: One", b"X Name: One"),
        (b"X-Name: One", b"X-Name: One\n"),
    ],
)
def test_a_head_that_is_not_of_the_usual_kind_is_left_to_the_server(old: bytes, new: bytes) -> None:
    assert read_head(HEAD.replace(old, new)) is None


def test_a_connection_that_says_that_it_stays_open_is_usual() -> None:
    assert read_head(HEAD.replace(b"X-Name: One", b"Connection: keep-alive")) is not None


async def test_what_comes_whole_is_answered_directly_with_a_date(line: Line) -> None:
    line.writer.write(post(b"hi"))
    await line.hears(b"HTTP/1.1 200 OK\r\ndate: ")
    line.writer.write(post(b"ho"))
    await line.hears(b"x-direct: yes\r\ncontent-length: 2\r\n\r\nho")


@pytest.mark.parametrize("cut", [10, len(post(b"hi")) - 1])
async def test_what_comes_in_pieces_or_for_others_goes_to_the_application(line: Line, cut: int) -> None:
    line.writer.write(post(b"hi")[:cut])
    await asyncio.sleep(0.05)
    line.writer.write(post(b"hi")[cut:])
    await line.hears(b"\r\ncontent-length: 2\r\n\r\nhi")
    line.writer.write(post(b"ho", b"/other"))
    await line.hears(b"\r\ncontent-length: 2\r\n\r\nho")
    assert b"x-direct" not in line.heard


async def test_requests_sent_ahead_are_answered_in_their_order(line: Line, direct: Direct) -> None:
    line.writer.write(post(b"wait"))
    await asyncio.sleep(0.05)
    line.writer.write(post(b"second") + post(b"third", b"/other"))
    await asyncio.sleep(0.05)
    line.writer.write(post(b"fourth"))
    await asyncio.sleep(0.05)
    assert line.heard == b""
    direct.go.set()
    async with asyncio.timeout(5):
        while not line.heard.endswith(b"fourth"):
            await asyncio.sleep(0.01)
    assert [part.rsplit(b"\r\n", 1)[-1] for part in line.heard.split(b"HTTP/1.1 200 OK")[1:]] == [
        *(b"wait", b"second", b"third", b"fourth")
    ]


async def test_a_client_that_sends_on_and_on_before_its_answer_is_not_read(
    server: HttpServer, line: Line, direct: Direct
) -> None:
    line.writer.write(post(b"wait"))
    await asyncio.sleep(0.05)
    line.writer.write(post(b"x" * 100_000, b"/other"))
    [protocol] = server._server.server_state.connections
    async with asyncio.timeout(5):
        while not protocol.flow.read_paused:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
    direct.go.set()
    await line.hears(b"x" * 100_000)
    assert not protocol.flow.read_paused  # type: ignore[union-attr]


async def test_a_failure_is_answered_500_and_ends_the_connection(line: Line) -> None:
    line.writer.write(post(b"fail"))
    await asyncio.wait_for(line.closed, 5)
    assert line.heard.startswith(b"HTTP/1.1 500 ")
    assert b"connection: close" in line.heard


async def test_a_server_that_stops_answers_what_is_open_and_closes_what_is_idle(
    server: HttpServer, line: Line, direct: Direct
) -> None:
    line.writer.write(post(b"hi"))
    await line.hears(b"hi")
    line.writer.write(post(b"wait"))
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.3)
    assert not line.closed.done()
    direct.go.set()
    await asyncio.wait_for(asyncio.gather(line.closed, stopping), 5)
    assert line.heard.endswith(b"connection: close\r\n\r\nwait")


async def test_an_idle_connection_is_closed_and_a_used_one_is_not(line: Line, server: HttpServer) -> None:
    protocols = server._server.server_state.connections
    line.writer.write(post(b"hi"))
    await line.hears(b"hi")
    [protocol] = protocols
    protocol.timeout_keep_alive = 0.4  # type: ignore[union-attr]
    for _ in range(3):
        await asyncio.sleep(0.2)
        protocol.timeout_keep_alive_handler()  # type: ignore[union-attr]
        line.writer.write(post(b"hi"))
        await line.hears(b"hi")
    await asyncio.wait_for(line.closed, 5)
