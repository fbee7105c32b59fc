"""A process's own port: /metrics, /healthz and /readyz."""

import asyncio
import json
from collections.abc import Callable, Mapping
from typing import Any

import uvicorn
from prometheus_client import CONTENT_TYPE_LATEST, REGISTRY, generate_latest

from cdp_runtime.metrics import READY
from cdp_runtime.server import GuestServer, bound

Scope = Mapping[str, Any]
Faults = Callable[[], Mapping[str, str]]


class AdminServer:
    """Serves the three paths in the process's own event loop; an answer of /healthz proves that the loop turns."""

    def __init__(
        self,
        host: str,
        port: int,
        faults: Faults,
        *,
        metrics: Callable[[], bytes] | None = None,
    ) -> None:
        self._host, self._port, self._faults = host, port, faults
        self._metrics = metrics or (lambda: generate_latest(REGISTRY))
        self._server: GuestServer | None = None
        self._task: asyncio.Task[None] | None = None

    async def start(self) -> int:
        """Binds and returns the port. Raises PortTaken."""
        listener = bound(self._host, self._port, variable="CDP_ADMIN_PORT", shared=False)
        port: int = listener.getsockname()[1]
        config = uvicorn.Config(
            self._app, interface="asgi3", log_config=None, access_log=False, lifespan="off", ws="none"
        )
        self._server = GuestServer(config)
        self._task = asyncio.create_task(self._server.serve([listener]))
        return port

    async def stop(self) -> None:
        if self._server is not None and self._task is not None:
            self._server.should_exit = True
            await self._task

    async def _app(self, scope: Scope, receive: Any, send: Any) -> None:
        match scope["path"]:
            case "/metrics":
                self._look()  # so that cdp_process_ready is true of this moment, probed or not
                await _answer(send, 200, CONTENT_TYPE_LATEST, self._metrics())
            case "/healthz":
                await _answer(send, 200, "application/json", b'{"status":"ok"}')
            case "/readyz":
                faults = self._look()
                body = {"status": "waiting" if faults else "ready", "faults": faults}
                await _answer(send, 503 if faults else 200, "application/json", json.dumps(body).encode())
            case _:
                await _answer(send, 404, "application/json", b'{"message":"try /metrics, /healthz or /readyz"}')

    def _look(self) -> dict[str, str]:
        faults = dict(self._faults())
        READY.set(0 if faults else 1)
        return faults


async def _answer(send: Any, status: int, content_type: str, body: bytes) -> None:
    headers = [(b"content-type", content_type.encode()), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
