"""Every request -> its id, its trace, its metrics, and an envelope even when a handler has a bug; nobody's at first."""

import re
import time
from collections.abc import Awaitable, Callable, MutableMapping
from typing import Any, Final
from uuid import uuid4

import structlog
from fastapi.responses import JSONResponse
from starlette.datastructures import Headers, MutableHeaders

from cdp_analytics_api.door.operations import Operations, principal_of
from cdp_runtime.envelope import error_body
from cdp_runtime.logs import get_logger
from cdp_runtime.metrics import API_REQUEST_SECONDS, API_REQUESTS
from cdp_runtime.tenancy import leave_workspace

Scope = MutableMapping[str, Any]
Message = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[Message]]
Send = Callable[[Message], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]

# of an answer; a WebSocket is taken or, with an answer to its opening request, refused
STARTS: Final = frozenset({"http.response.start", "websocket.http.response.start", "websocket.accept"})

_log = get_logger(__name__)
_REQUEST_ID: Final = re.compile(r"[A-Za-z0-9._:/+=-]{1,128}\Z")
_TRACEPARENT: Final = re.compile(r"[0-9a-f]{2}-([0-9a-f]{32})-([0-9a-f]{16})-[0-9a-f]{2}\Z")
_METHODS: Final = frozenset({"GET", "POST", "PUT", "PATCH", "DELETE", "HEAD", "OPTIONS"})


class Requests:
    """The outermost layer but CORS. ``scope["state"]`` gets ``request_id`` and ``traceparent`` ('' when none came)."""

    def __init__(self, app: App, *, operations: Operations) -> None:
        self._app, self._operations = app, operations

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket"):
            await self._app(scope, receive, send)
            return
        leave_workspace()
        headers = Headers(scope=scope)
        state = scope.setdefault("state", {})
        state["request_id"], state["traceparent"] = _identified(headers), _trace(headers)
        with structlog.contextvars.bound_contextvars(**_log_fields(state)):
            if scope["type"] == "http":
                await self._answer(scope, receive, send)
            else:
                await self._app(scope, receive, send)

    async def _answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        began = time.perf_counter()
        status = 0

        async def send_marked(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                self._mark(scope, message, time.perf_counter() - began)
            await send(message)

        try:
            await self._app(scope, receive, send_marked)
        except Exception:
            request_id = scope["state"]["request_id"]
            _log.exception("request_failed", method=scope["method"], route=self._operations.of(scope).path)
            if status:
                raise  # the answer is half out: only closing the connection tells the client
            await _bug(request_id)(scope, receive, send_marked)

    def _mark(self, scope: Scope, message: Message, seconds: float) -> None:
        state, route = scope["state"], self._operations.of(scope).path
        headers = MutableHeaders(scope=message)
        headers["X-Request-Id"] = state["request_id"]
        if state["traceparent"]:
            headers["traceparent"] = state["traceparent"]
        method = scope["method"] if scope["method"] in _METHODS else "other"
        API_REQUESTS.labels(method, route, str(message["status"])).inc()
        API_REQUEST_SECONDS.labels(route).observe(seconds)
        principal = principal_of(scope)
        _log.debug(
            "request_answered",
            method=method,
            route=route,
            status=message["status"],
            seconds=round(seconds, 4),
            workspace=principal.workspace_id if principal else None,
        )


def _identified(headers: Headers) -> str:
    given = headers.get("x-request-id", "")
    return given if _REQUEST_ID.match(given) else uuid4().hex


def _trace(headers: Headers) -> str:
    """The W3C trace context as it came, if it is one."""
    given = headers.get("traceparent", "")
    found = _TRACEPARENT.match(given)
    return given if found and set(found[1]) != {"0"} and set(found[2]) != {"0"} else ""


def _log_fields(state: MutableMapping[str, Any]) -> dict[str, str]:
    fields = {"request_id": state["request_id"]}
    if state["traceparent"]:
        fields["trace_id"] = state["traceparent"].split("-")[1]
    return fields


def _bug(request_id: str) -> JSONResponse:
    message = f"This is a bug of ours; the log has it under the request id {request_id}."
    return JSONResponse(error_body("internal", message), 500)
