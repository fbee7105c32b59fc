"""A port in front of a port -> the same bytes, late, slow, cut, swallowed or without the reply, as it is told."""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from dataclasses import dataclass, field
from typing import Any, Literal

Direction = Literal["up", "down"]  # towards the server, towards the client
Matches = Callable[[bytes], bool]
_CHUNK = 64 * 1024


@dataclass
class Trouble:
    """What happens to the bytes of all connections from now on; plain attributes, set from any thread.

    ``cut_after``: a connection is reset when so many bytes went in that direction; a partial chunk goes through.
    ``lose_reply_to``: the request that matches goes through, its reply does not, and the connection is reset then.
    ``times``: how often the last two happen, over all connections.
    ``struck``: how often any of it has met somebody; of a trouble that met nobody nothing is shown.
    """

    latency_s: float = 0.0
    bytes_per_second: float = 0.0
    refuses: bool = False
    swallows: bool = False
    half_open: bool = False
    cut_after: tuple[Direction, int] | None = None
    lose_reply_to: Matches | None = None
    times: int = 1_000_000
    struck: int = 0


@dataclass(eq=False)
class _Connection:
    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    sent: dict[str, int] = field(default_factory=lambda: {"up": 0, "down": 0})
    loses_reply: bool = False

    def reset(self) -> None:
        """RST, not FIN: the peers must not take it for an orderly end."""
        for writer in (self.client, self.server):
            writer.transport.abort()


class Proxy:
    """One listening port and its connections. ``struck`` counts lost replies and cuts by bytes."""

    def __init__(self, upstream: int) -> None:
        self.upstream, self.port = upstream, 0
        self.trouble, self.struck, self.carried = Trouble(), 0, 0
        self._connections: set[_Connection] = set()
        self._server: asyncio.Server | None = None

    async def start(self) -> None:
        """Listens on a free port of 127.0.0.1."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, limit=_CHUNK)
        self.port = int(self._server.sockets[0].getsockname()[1])

    async def stop(self) -> None:
        if self._server is not None:
            self._server.close()
        self.reset()

    def reset(self) -> None:
        """Breaks every open connection; call it on the proxy's own loop."""
        for connection in list(self._connections):
            connection.reset()

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if (trouble := self.trouble).refuses:
            trouble.struck += 1
            writer.transport.abort()
            return
        try:
            far_reader, far_writer = await asyncio.open_connection("127.0.0.1", self.upstream, limit=_CHUNK)
        except OSError:
            writer.transport.abort()
            return
        connection = _Connection(writer, far_writer)
        self._connections.add(connection)
        try:
            await asyncio.gather(
                self._carry(connection, "up", reader, far_writer), self._carry(connection, "down", far_reader, writer)
            )
        finally:
            connection.reset()
            self._connections.discard(connection)

    async def _carry(
        self, connection: _Connection, way: Direction, source: asyncio.StreamReader, sink: asyncio.StreamWriter
    ) -> None:
        try:
            while data := await source.read(_CHUNK):
                await self._slow(len(data))
                if (trouble := self.trouble).swallows:
                    trouble.struck += 1
                    continue
                data = self._struck(connection, way, data)
                sink.write(data)
                await sink.drain()
                connection.sent[way] += len(data)
                self.carried += len(data)
            if not self.trouble.half_open and not sink.is_closing():
                sink.write_eof()
        except (OSError, RuntimeError):
            connection.reset()  # one side is gone: the other one learns it

    async def _slow(self, size: int) -> None:
        trouble = self.trouble
        pause = trouble.latency_s + (size / trouble.bytes_per_second if trouble.bytes_per_second else 0.0)
        if pause:
            trouble.struck += 1
            await asyncio.sleep(pause)

    def _struck(self, connection: _Connection, way: Direction, data: bytes) -> bytes:
        """What of the data still goes through. Raises ConnectionResetError when this connection's time has come."""
        trouble = self.trouble
        if connection.loses_reply and way == "down":
            raise ConnectionResetError
        if trouble.times <= 0:
            return data
        if way == "up" and trouble.lose_reply_to is not None and trouble.lose_reply_to(data):
            self._count(trouble)
            connection.loses_reply = True
        if trouble.cut_after is not None and trouble.cut_after[0] == way:
            rest = trouble.cut_after[1] - connection.sent[way]
            if len(data) >= rest:
                self._count(trouble)
                (connection.server if way == "up" else connection.client).write(data[: max(0, rest)])
                raise ConnectionResetError
        return data

    def _count(self, trouble: Trouble) -> None:
        self.struck += 1
        trouble.struck += 1
        trouble.times -= 1


class Proxies:
    """Proxies on a loop and a thread of their own: what a scenario blocks on must not stop the bytes."""

    def __init__(self) -> None:
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="proxies", daemon=True)
        self._thread.start()
        self._all: list[Proxy] = []

    def before(self, upstream: int) -> Proxy:
        """A new one in front of that port."""
        proxy = Proxy(upstream)
        self._wait(proxy.start())
        self._all.append(proxy)
        return proxy

    def cut(self, proxy: Proxy) -> Trouble:
        """Refuses new connections and breaks the open ones, until :meth:`heal`. Returned is what counts the refused."""
        proxy.trouble = trouble = Trouble(refuses=True)
        self._loop.call_soon_threadsafe(proxy.reset)
        return trouble

    def heal(self, proxy: Proxy) -> None:
        """No trouble any more; connections whose bytes were swallowed are broken, as they would time out."""
        swallowed = proxy.trouble.swallows
        proxy.trouble = Trouble()
        if swallowed:
            self._loop.call_soon_threadsafe(proxy.reset)

    def reset(self, proxy: Proxy) -> None:
        """Breaks its open connections."""
        self._loop.call_soon_threadsafe(proxy.reset)

    def close(self) -> None:
        for proxy in self._all:
            self._wait(proxy.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(30)
