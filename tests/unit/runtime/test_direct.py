"""Requests that reach their application without ASGI: which ones do, in which order, and what ends a connection."""

import asyncio
from collections.abc import AsyncIterator

import pytest
from tests.unit.runtime.test_server import Direct, Line, echo

from cdp_runtime import direct
from cdp_runtime.exchange import read_head
from cdp_runtime.server import HttpServer

HEAD = b"POST /whole?a=b HTTP/1.1\r\nHost: x\r\nX-Name: One\r\nContent-Length: 2\r\n\r\n"


def post(body: bytes, path: bytes = b"/whole", more: bytes = b"") -> bytes:
    return b"POST %s HTTP/1.1\r\nHost: x\r\n%bContent-Length: %d\r\n\r\n%b" % (path, more, len(body), body)


@pytest.fixture
def app() -> Direct:
    return Direct()


@pytest.fixture
async def server(app: Direct) -> AsyncIterator[HttpServer]:
    server = HttpServer(echo, "127.0.0.1", 0, variable="PORT", direct=app)
    yield server
    app.go.set()
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
        (b"/whole?a=b", b"http://x"),
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


async def answered(line: Line, *parts: bytes, pause: float = 0.05) -> bytes:
    """The answer to one request that is sent in parts and ends with ``hi``."""
    for part in parts:
        line.writer.write(part)
        await asyncio.sleep(pause)
    async with asyncio.timeout(5):
        while not line.heard.endswith(b"\r\n\r\nhi"):
            await asyncio.sleep(0.01)
    heard, line.heard = line.heard, b""
    return heard


async def test_head_and_body_may_come_apart(line: Line) -> None:
    head, body = post(b"hi")[:-2], b"hi"
    for parts in ((head, body), (head, b"h", b"i"), (head + b"h", b"i")):
        assert b"x-direct" in await answered(line, *parts)


async def test_what_comes_otherwise_or_is_not_for_it_goes_to_the_application(
    line: Line, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole = post(b"hi")
    large = post(b"x" * 100_000 + b"\r\n\r\nhi")
    monkeypatch.setattr(direct, "_PATIENCE", 0.1)
    for parts in ((post(b"hi", b"/other"),), (whole[:10], whole[10:]), (large[:200], large[200:])):
        assert b"x-direct" not in await answered(line, *parts)
    assert b"x-direct" not in await answered(line, whole[:-1], whole[-1:], pause=0.4)
    assert b"x-direct" in await answered(line, whole)


async def test_a_body_that_comes_with_the_next_request_is_answered_before_it(line: Line) -> None:
    line.writer.write(post(b"one")[:-3])
    await asyncio.sleep(0.05)
    line.writer.write(b"one" + post(b"hi"))
    heard = await answered(line)
    assert [part.rsplit(b"\r\n", 1)[-1] for part in heard.split(b"HTTP/1.1 200 OK")[1:]] == [b"one", b"hi"]


async def test_requests_sent_ahead_are_answered_in_their_order(line: Line, app: Direct) -> None:
    line.writer.write(post(b"wait"))
    await asyncio.sleep(0.05)
    line.writer.write(post(b"second") + post(b"third", b"/other"))
    await asyncio.sleep(0.05)
    line.writer.write(post(b"fourth"))
    await asyncio.sleep(0.05)
    assert line.heard == b""
    app.go.set()
    async with asyncio.timeout(5):
        while not line.heard.endswith(b"fourth"):
            await asyncio.sleep(0.01)
    assert [part.rsplit(b"\r\n", 1)[-1] for part in line.heard.split(b"HTTP/1.1 200 OK")[1:]] == [
        *(b"wait", b"second", b"third", b"fourth")
    ]


async def test_a_client_that_sends_on_and_on_before_its_answer_is_not_read(
    server: HttpServer, line: Line, app: Direct
) -> None:
    line.writer.write(post(b"wait"))
    await asyncio.sleep(0.05)
    line.writer.write(post(b"x" * 100_000, b"/other"))
    [protocol] = server._server.server_state.connections
    async with asyncio.timeout(5):
        while not protocol.flow.read_paused:  # type: ignore[union-attr]
            await asyncio.sleep(0.01)
    app.go.set()
    await line.hears(b"x" * 100_000)
    assert not protocol.flow.read_paused  # type: ignore[union-attr]


async def test_a_failure_is_answered_500_and_ends_the_connection(line: Line) -> None:
    line.writer.write(post(b"fail"))
    await asyncio.wait_for(line.closed, 5)
    assert line.heard.startswith(b"HTTP/1.1 500 ")
    assert b"connection: close" in line.heard


async def test_a_server_that_stops_answers_what_is_open_and_closes_what_is_idle(
    server: HttpServer, line: Line, app: Direct
) -> None:
    line.writer.write(post(b"hi"))
    await line.hears(b"hi")
    line.writer.write(post(b"wait"))
    await asyncio.sleep(0.05)
    stopping = asyncio.create_task(server.stop())
    await asyncio.sleep(0.3)
    assert not line.closed.done()
    app.go.set()
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
