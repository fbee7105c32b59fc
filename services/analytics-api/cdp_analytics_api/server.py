"""An ASGI application -> a port; nothing here answers signals, the process does."""

import asyncio
import socket

import uvicorn
from fastapi import FastAPI

from cdp_runtime.server import GuestServer


class PortTaken(OSError):
    """Another process listens there."""


class HttpServer:
    """Uvicorn in the process's own event loop."""

    def __init__(self, app: FastAPI, host: str, port: int) -> None:
        self._host, self._port = host, port
        config = uvicorn.Config(
            app,
            http="httptools",
            # the sans-IO protocol: uvicorn's other one is written for an API that websockets has dropped
            ws="websockets-sansio",
            lifespan="off",
            log_config=None,
            access_log=False,
            server_header=False,
            timeout_keep_alive=65,
            timeout_graceful_shutdown=10,
            ws_ping_interval=20,
        )
        self._server = GuestServer(config)
        self._serving: asyncio.Task[None] | None = None

    def start(self) -> int:
        """Binds and returns the port. Raises PortTaken."""
        try:
            listener = socket.create_server((self._host, self._port), backlog=1024)
        except OSError as error:
            raise PortTaken(f"CDP_API_PORT: cannot listen on {self._host}:{self._port}: {error.strerror}.") from error
        self._port = int(listener.getsockname()[1])
        self._serving = asyncio.create_task(self._server.serve([listener]))
        return self._port

    async def run(self) -> None:
        """Until ``stop``. Raises what ended the server."""
        if self._serving is not None:
            await asyncio.shield(self._serving)

    async def stop(self) -> None:
        """Takes no new connections, finishes open requests, then returns."""
        self._server.should_exit = True
        if self._serving is not None:
            await asyncio.gather(self._serving, return_exceptions=True)
