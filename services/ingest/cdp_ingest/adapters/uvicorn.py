"""A port -> uvicorn (uvloop, httptools) in the process's own event loop, with a shared port and a bounded drain."""

import asyncio
import socket
from typing import Any

import uvicorn

from cdp_runtime.server import GuestServer


class HttpServer:
    """Serves one ASGI application until it is stopped; the process, not this server, answers signals."""

    def __init__(self, app: Any, host: str, port: int, *, shared: bool = False, drain_seconds: int = 20) -> None:
        self._address = (host, port)
        self._shared = shared
        config = uvicorn.Config(
            app,
            http="httptools",
            ws="none",
            lifespan="off",
            log_config=None,
            access_log=False,
            proxy_headers=False,
            server_header=False,
            backlog=2048,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=drain_seconds,
        )
        self._server = GuestServer(config)
        self._socket: socket.socket | None = None
        self._task: asyncio.Task[None] | None = None

    def bind(self) -> int:
        """Takes the port and returns it. Raises OSError when it is taken."""
        self._socket = bound(*self._address, shared=self._shared)
        port: int = self._socket.getsockname()[1]
        return port

    def serve(self) -> None:
        """Starts to accept connections."""
        if self._socket is None:
            self.bind()
        assert self._socket is not None
        self._task = asyncio.create_task(self._server.serve([self._socket]))

    async def wait(self) -> None:
        """Returns when the server has ended. Raises what ended it."""
        if self._task is not None:
            await asyncio.shield(self._task)

    async def stop(self) -> None:
        """Accepts no more, answers what is open, closes what is idle."""
        self._server.should_exit = True
        if self._task is not None:
            await asyncio.wait({self._task})
        elif self._socket is not None:
            self._socket.close()


def bound(host: str, port: int, *, shared: bool) -> socket.socket:
    """A socket on a port, which may be ``shared`` with other workers. Raises OSError when something else has it."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if shared:
            listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        listener.bind((host, port))
    except OSError:
        listener.close()
        raise
    return listener
