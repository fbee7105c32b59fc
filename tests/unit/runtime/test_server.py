"""The HTTP server over raw sockets, with a direct application or without: who dribbles is closed, who idles is not."""

import asyncio
import base64
import socket
import struct
from collections.abc import AsyncIterator
from typing import Any

import pytest

from cdp_runtime import deadline
from cdp_runtime.exchange import Answer, Head
from cdp_runtime.metrics import HTTP_CONNECTIONS_CUT
from cdp_runtime.server import HttpServer, PortTaken

SECONDS = 0.3
WEBSOCKET = (
    b"GET %s HTTP/1.1\r\nHost: x\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
    b"Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: " + base64.b64encode(b"0" * 16) + b"\r\n\r\n"
)
CHUNK, CHUNKS = b"x" * 100_000, 200  # more than any kernel buffers
WHOLE = b"POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}"


async def echo(scope: Any, receive: Any, send: Any) -> None:
    """Answers with the body; /early without waiting for it, a WebSocket with what it is told."""
    if scope["type"] == "websocket":
        await receive()
        await send({"type": "websocket.accept"})
        if scope["path"] == "/flood":
            while True:
                await send({"type": "websocket.send", "bytes": CHUNK})
        while (message := await receive())["type"] == "websocket.receive":
            await send({"type": "websocket.send", "text": message["text"]})
        return
    if scope["path"] == "/large":
        await send({"type": "http.response.start", "status": 200, "headers": []})
        for _ in range(CHUNKS):
            await send({"type": "http.response.body", "body": CHUNK, "more_body": True})
        await send({"type": "http.response.body", "body": b""})
        return
    body = b""
    while scope["path"] != "/early":
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        if not message["more_body"]:
            break
    length = str(len(body)).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-length", length)]})
    await send({"type": "http.response.body", "body": body})


class Line:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer
        self.closed = asyncio.create_task(self._watch())
        self.heard = b""

    async def _watch(self) -> None:
        try:
            while data := await self.reader.read(65536):
                self.heard += data
        except ConnectionError:
            return

    async def hears(self, answer: bytes) -> None:
        async with asyncio.timeout(5):
            while answer not in self.heard:
                await asyncio.sleep(0.01)
        self.heard = b""

    async def dribble(self, data: bytes) -> None:
        """A byte now and then, for ever."""
        for byte in data * 1000:
            if self.closed.done():
                return
            self.writer.write(bytes([byte]))
            await asyncio.sleep(0.02)


class Direct:
    """Echoes like the application, and says that it was this one; a body ``wait`` is answered when ``go`` is set."""

    def __init__(self) -> None:
        self.go = asyncio.Event()

    def takes(self, head: Head) -> bool:
        return head.path == "/whole"

    async def answer(self, head: Head, body: bytes, peer: str) -> Answer:
        assert peer == "127.0.0.1"
        if body == b"wait":
            await self.go.wait()
        if body == b"fail":
            raise RuntimeError("as asked")
        return Answer(200, [(b"x-direct", b"yes"), (b"content-length", str(len(body)).encode())], body)


@pytest.fixture
def direct() -> Direct:
    return Direct()


@pytest.fixture(params=["direct", "uvicorn"])
async def port(request: pytest.FixtureRequest, direct: Direct, monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    monkeypatch.setattr(deadline, "_APPLICATION_FIRST", 0.1)
    server = HttpServer(
        echo,
        "127.0.0.1",
        0,
        variable="PORT",
        websockets=True,
        request_seconds=SECONDS,
        message_bytes=1000,
        ping_seconds=SECONDS,
        direct=direct if request.param == "direct" else None,
    )
    yield server.start()
    await server.stop()


@pytest.fixture
async def line(port: int) -> AsyncIterator[Line]:
    line = Line(*await asyncio.open_connection("127.0.0.1", port))
    yield line
    line.writer.close()
    await line.closed


async def is_closed_in_time(line: Line, dribbled: bytes) -> None:
    loop = asyncio.get_running_loop()
    started = loop.time()
    dribbling = asyncio.create_task(line.dribble(dribbled))
    await asyncio.wait_for(asyncio.shield(line.closed), 5)
    assert SECONDS * 0.9 < loop.time() - started < 3
    await dribbling


async def test_a_client_that_dribbles_its_header_is_told_and_closed(line: Line) -> None:
    line.writer.write(b"POST /whole HTTP/1.1\r\nX: ")
    await is_closed_in_time(line, b"a")
    assert line.heard.startswith(b"HTTP/1.1 408 ")


async def test_the_second_request_of_a_connection_has_a_deadline_too(line: Line) -> None:
    line.writer.write(WHOLE)
    await line.hears(b"\r\n\r\n{}")
    line.writer.write(b"POST /whole HTTP/1.1\r\nX: ")
    await is_closed_in_time(line, b"a")
    assert line.heard.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("length", [b"100000", b"1000"])
async def test_a_client_that_dribbles_its_body_is_told_and_closed(line: Line, length: bytes) -> None:
    line.writer.write(b"POST /whole HTTP/1.1\r\nHost: x\r\nContent-Length: " + length + b"\r\n\r\n")
    await is_closed_in_time(line, b"b")
    assert line.heard.startswith(b"HTTP/1.1 408 ")


@pytest.mark.parametrize("before", [b"", WHOLE])
async def test_bytes_that_begin_no_request_do_not_hold_a_connection(line: Line, before: bytes) -> None:
    line.writer.write(before)
    if before:
        await line.hears(b"{}")
    await is_closed_in_time(line, b"\r\n")
    assert b"HTTP/1.1 200" not in line.heard


async def test_a_body_that_nobody_waits_for_any_more_holds_no_connection(line: Line) -> None:
    line.writer.write(b"POST /early HTTP/1.1\r\nHost: x\r\nContent-Length: 100000\r\n\r\n")
    await is_closed_in_time(line, b"b")
    assert line.heard.startswith(b"HTTP/1.1 200 ") and b"408" not in line.heard


async def test_idle_connections_are_kept_before_and_between_requests(line: Line) -> None:
    for _ in range(3):
        await asyncio.sleep(2 * SECONDS)
        line.writer.write(WHOLE)
        await line.hears(b"\r\n\r\n{}")
    assert not line.closed.done()


async def test_a_request_in_pieces_within_the_deadline_is_answered(line: Line) -> None:
    for _ in range(5):
        for start in range(0, len(WHOLE), 20):
            line.writer.write(WHOLE[start : start + 20])
            await asyncio.sleep(0.02)
        await line.hears(b"\r\n\r\n{}")


async def test_a_head_without_end_is_refused_however_fast_it_comes(line: Line) -> None:
    line.writer.write(b"GET / HTTP/1.1\r\nHost: x\r\n")
    await asyncio.sleep(0.05)
    for size in (*[5000] * 13, 1000):
        line.writer.write(b"X: " + b"y" * (size - 5) + b"\r\n")
        await asyncio.sleep(0.01)
    await asyncio.wait_for(asyncio.shield(line.closed), 5)
    head, _, body = line.heard.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/1.1 431 ") and b"content-length: %d" % len(body) in head


async def asking(port: int, head: bytes) -> socket.socket:
    """A connection whose client has asked, with a small window."""
    loop = asyncio.get_running_loop()
    client = socket.socket()
    client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.setblocking(False)
    await loop.sock_connect(client, ("127.0.0.1", port))
    await loop.sock_sendall(client, head)
    return client


async def read_out(client: socket.socket) -> tuple[int, bool]:
    """How many bytes come, and whether the connection was cut."""
    loop, size = asyncio.get_running_loop(), 0
    try:
        async with asyncio.timeout(10):
            while data := await loop.sock_recv(client, 1_000_000):
                size += len(data)
    except ConnectionResetError:
        return size, True
    return size, False


@pytest.mark.parametrize("head", [b"GET /large HTTP/1.1\r\nHost: x\r\n\r\n", WEBSOCKET % b"/flood"])
async def test_who_reads_nothing_of_an_answer_is_cut(port: int, head: bytes) -> None:
    cut = HTTP_CONNECTIONS_CUT.labels("slow reader")
    before = cut._value.get()
    client = await asking(port, head)
    async with asyncio.timeout(10):
        while cut._value.get() == before:
            await asyncio.sleep(0.05)
    size, _ = await read_out(client)
    assert size < len(CHUNK) * CHUNKS
    client.close()


async def test_who_reads_slowly_gets_it_all(port: int) -> None:
    client = await asking(port, b"GET /large HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n")
    loop, size = asyncio.get_running_loop(), 0
    for _ in range(int(4 * SECONDS / 0.05)):
        size += len(await loop.sock_recv(client, 50_000))
        await asyncio.sleep(0.05)
    rest, was_cut = await read_out(client)
    assert not was_cut and size + rest > len(CHUNK) * CHUNKS
    client.close()


async def test_a_websocket_is_not_a_slow_request_while_it_answers_pings(line: Line) -> None:
    head = WEBSOCKET % b"/"
    line.writer.write(head[:60])
    await asyncio.sleep(0.05)
    line.writer.write(head[60:])
    await line.hears(b"101 Switching")
    for _ in range(3):
        async with asyncio.timeout(5):
            while b"\x89\x04" not in line.heard:
                await asyncio.sleep(0.01)
        payload = line.heard.partition(b"\x89\x04")[2][:4]
        line.heard = b""
        line.writer.write(b"\x8a\x84\0\0\0\0" + payload)
    line.writer.write(b"\x81\x82\0\0\0\0hi")
    await line.hears(b"\x81\x02hi")


async def test_a_websocket_whose_client_is_gone_without_a_word_is_closed(line: Line) -> None:
    line.writer.write(WEBSOCKET % b"/")
    await asyncio.wait_for(asyncio.shield(line.closed), 5)
    assert struct.pack("!H", 1011) + b"keepalive ping timeout" in line.heard


async def test_a_message_that_is_too_large_ends_its_websocket(line: Line) -> None:
    line.writer.write(WEBSOCKET % b"/")
    await line.hears(b"101 Switching")
    line.writer.write(b"\x81\xfe" + struct.pack("!H", 1001) + b"\0\0\0\0" + b"a" * 1001)
    await asyncio.wait_for(asyncio.shield(line.closed), 5)
    assert struct.pack("!H", 1009) in line.heard


async def test_a_taken_port_names_its_variable(port: int) -> None:
    with pytest.raises(PortTaken, match=f"PORT: cannot listen on 127.0.0.1:{port}: Address already in use"):
        HttpServer(echo, "127.0.0.1", port, variable="PORT").start()
