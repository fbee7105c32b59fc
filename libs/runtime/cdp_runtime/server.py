"""An ASGI application -> a port: uvicorn (uvloop, httptools) as a guest in a process that answers signals itself."""

import asyncio
import socket
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Any, Final

import uvicorn

from cdp_runtime.deadline import with_deadline
from cdp_runtime.direct import DirectApp, with_direct
from cdp_runtime.slow_readers import SlowReaders

_BACKLOG: Final = 2048


class PortTaken(OSError):
    """Another process listens there."""


class GuestServer(uvicorn.Server):
    """Serves until ``should_exit`` is set; ``cdp_runtime.run`` answers SIGTERM and SIGINT."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()


class HttpServer:
    """Serves one application until it is stopped, with a deadline for slow clients and a bounded drain.

    ``variable`` is the setting that names the port, for who has to change it. A ``shared`` port may have several
    processes behind it. Requests have ``request_seconds`` for their head and for their body, and who reads nothing of
    an answer for that long is cut. WebSockets are answered only with ``websockets``; a message of theirs may have
    ``message_bytes``, and one whose client does not answer a ping within ``ping_seconds`` is closed. ``direct`` is
    asked first for what comes in the usual way, before ``app``.
    """

    def __init__(
        self,
        app: Any,
        host: str,
        port: int,
        *,
        variable: str,
        shared: bool = False,
        websockets: bool = False,
        drain_seconds: int = 20,
        request_seconds: float = 30.0,
        message_bytes: int = 65_536,
        ping_seconds: float = 20.0,
        direct: DirectApp | None = None,
    ) -> None:
        self._listener = partial(bound, host, port, variable=variable, shared=shared)
        config = uvicorn.Config(
            app,
            http=with_deadline(request_seconds) if direct is None else with_direct(request_seconds, direct),
            ws=_websocket_protocol() if websockets else "none",
            ws_max_size=message_bytes,
            ws_ping_interval=ping_seconds,
            ws_ping_timeout=ping_seconds,
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=_BACKLOG,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=drain_seconds,
        )
        self._server = GuestServer(config)
        self._slow_readers = SlowReaders(self._server.server_state.connections, request_seconds)
        self._serving: asyncio.Task[None] | None = None
        self._cutting: asyncio.Task[None] | None = None

    def start(self) -> int:
        """Listens, and returns the port. Raises PortTaken."""
        listener = self._listener()
        listener.listen(_BACKLOG)  # connections wait from now on, until the loop turns to the server
        self._serving = asyncio.create_task(self._server.serve([listener]))
        self._cutting = asyncio.create_task(self._slow_readers.run())
        port: int = listener.getsockname()[1]
        return port

    async def run(self) -> None:
        """Until :meth:`stop`. Raises what ended the server."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def stop(self) -> None:
        """Takes no new connections, answers open requests, closes what is idle."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.wait({self._serving})
        if self._cutting is not None:
            self._cutting.cancel()


def _websocket_protocol() -> type[asyncio.Protocol]:
    from cdp_runtime.websocket import WebSocketProtocol  # the gateway has none and does not load it

    return WebSocketProtocol


def bound(host: str, port: int, *, variable: str, shared: bool) -> socket.socket:
    """A socket on a port, not yet listening, ``shared`` with other processes or alone. Raises PortTaken."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError as error:
        listener.close()
        raise PortTaken(f"{variable}: cannot listen on {host}:{port}: {error.strerror or error}.") from error
    return listener
