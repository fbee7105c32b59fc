"""The ingest paths as one plain ASGI callable: a request in, the SDK's answer out; every other path goes on inward."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, MutableMapping
from dataclasses import dataclass
from typing import Any, Final, Literal, NamedTuple

from cdp_ingest import answers, connection, credentials, decode
from cdp_ingest.answers import Cors
from cdp_ingest.callers import Callers
from cdp_ingest.gateway import Gateway, Limits, Origin
from cdp_ingest.inflate import inflate
from cdp_ingest.publishing import TALLY
from cdp_ingest.quota import InFlight
from cdp_ingest.refusals import (
    BODY_TIMEOUT,
    BODY_TOO_LARGE,
    WRITE_KEY_MISSING,
    WRITE_KEY_UNKNOWN,
    CallRefused,
)
from cdp_ingest.strangers import Strangers
from cdp_runtime import metrics
from cdp_runtime.exchange import Answer, Head
from cdp_schemas.events import Channel

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
App = Callable[[Scope, Receive, Send], Awaitable[None]]
Headers = Mapping[bytes, bytes]


@dataclass(frozen=True, slots=True)
class Route:
    """What a path means. Client paths are called by devices, whose address the connection tells; servers' are not."""

    shape: Literal["single", "batch", "discard"]
    channel: Channel = "client"
    call: str | None = None


# RudderStack's browser and mobile libraries send this header, on the paths that servers call too
_FROM_A_DEVICE: Final = b"anonymousid"
_LETTERS: Final = {"t": "track", "i": "identify", "p": "page", "g": "group", "a": "alias", "s": "screen"}
ROUTES: Final[dict[str, Route]] = {
    **{f"/v1/{letter}": Route("single", "client", call) for letter, call in _LETTERS.items()},
    **{f"/v1/{call}": Route("single", "server", call) for call in _LETTERS.values()},
    "/v1/b": Route("batch", "client"),
    "/beacon/v1/batch": Route("batch", "client"),
    "/v1/batch": Route("batch", "server"),
    "/v1/import": Route("batch", "server"),
    "/v1/m": Route("discard"),
    "/rsaMetrics": Route("discard"),
}


class Request(NamedTuple):
    """What a call brings beside its body; ``peer`` is the address at the other end of the connection."""

    route: Route
    headers: Headers
    query: bytes
    peer: str


class _Gone(Exception):
    """The client went away before its body was complete: there is nobody to answer."""


class HotPaths:
    """The outermost ASGI application of the gateway."""

    def __init__(self, gateway: Gateway, callers: Callers, limits: Limits, in_flight: InFlight, inner: App) -> None:
        self._gateway, self._callers, self._limits = gateway, callers, limits
        self._in_flight, self._inner = in_flight, inner
        self.cors = Cors()
        self.body_timeout = 30.0
        self.strangers: Strangers | None = None  # None: an unknown write key is refused

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return await self._inner(scope, receive, send)
        route = _route(scope["path"])
        if scope["method"] == "OPTIONS":
            return await _send(send, self.cors.preflight(dict(scope["headers"])))
        if route is None or scope["method"] != "POST":
            return await self._inner(scope, receive, send)
        peer = (scope.get("client") or ("",))[0]
        request = Request(route, dict(scope["headers"]), scope.get("query_string", b""), peer)
        try:
            answer = await self._answer(request, b"", receive)
        except _Gone:
            return None
        return await _send(send, answer)

    def takes(self, head: Head) -> bool:
        """Whether the head is one of an ingest path, to be answered directly."""
        return _route(head.path) is not None

    async def answer(self, head: Head, body: bytes, peer: str) -> Answer:
        """The answer to a request that has come whole."""
        route = _route(head.path)
        assert route is not None
        return await self._answer(Request(route, head.headers, head.query, peer), body)

    async def _answer(self, request: Request, body: bytes, receive: Receive | None = None) -> Answer:
        cors = self.cors.headers(request.headers.get(b"origin"))
        try:
            await self._take(request, body, receive)
            answer = answers.success(cors)
        except CallRefused as error:
            metrics.INGEST_REJECTED.labels(error.refusal.label).inc()
            answer = answers.refusal(error, cors)
        _count(answer.status)
        return answer

    async def _take(self, request: Request, body: bytes, receive: Receive | None) -> None:
        if _announced(request.headers) > self._limits.max_body_bytes:
            raise self._too_large()
        held = _Held(self._in_flight)
        try:
            held.grow_to(len(body))  # what is only announced holds nothing: to announce costs a client nothing either
            if receive is not None:
                body = await self._body(receive, held)
            if request.route.shape == "discard":
                return
            body = inflate(body, request.headers.get(b"content-encoding", b""), self._limits.max_body_bytes)
            held.grow_to(len(body))
            await self._take_body(request, body)
        finally:
            held.release()

    async def _take_body(self, request: Request, body: bytes) -> None:
        route = request.route
        if route.shape == "single":
            call = decode.read_single(body)
        else:
            call = decode.read_batch(body, self._limits.max_batch_events)
        keys = _keys(request, call)
        source = await self._callers.source(keys, request.peer, request.headers.get(b"x-forwarded-for", b""))
        if source is None and keys and self.strangers is not None:
            return await self.strangers.keep(keys[0], body)
        if source is None:
            raise CallRefused(WRITE_KEY_UNKNOWN if keys else WRITE_KEY_MISSING)
        facts = {}
        channel: Channel = "client" if _FROM_A_DEVICE in request.headers else route.channel
        if channel == "client":
            facts = connection.client_facts(request.peer, request.headers, self._callers.proxies)
        origin = Origin(source, channel, route.call, facts)
        holder = (source.workspace_id, source.source_id)
        self._in_flight.enter(holder, len(body))
        try:
            await self._gateway.take(origin, call, body)
        finally:
            self._in_flight.leave(holder, len(body))
        return None

    async def _body(self, receive: Receive, held: "_Held") -> bytes:
        message = await receive()
        if not message.get("more_body", False) and message["type"] == "http.request":
            held.grow_to(len(message.get("body", b"")))
            return bytes(message.get("body", b""))
        try:
            async with asyncio.timeout(self.body_timeout):
                return await self._rest(message, receive, held)
        except TimeoutError as error:
            raise CallRefused(BODY_TIMEOUT) from error

    async def _rest(self, message: MutableMapping[str, Any], receive: Receive, held: "_Held") -> bytes:
        parts: list[bytes] = []
        size = 0
        while True:
            if message["type"] == "http.disconnect":
                raise _Gone
            part = message.get("body", b"")
            size += len(part)
            if size > self._limits.max_body_bytes:
                raise self._too_large()
            held.grow_to(size)
            parts.append(part)
            if not message.get("more_body", False):
                return b"".join(parts)
            message = await receive()

    def _too_large(self) -> CallRefused:
        return CallRefused(BODY_TOO_LARGE, f"The limit is {self._limits.max_body_bytes} bytes.")


class _Held:
    """The bytes that one request holds of the worker's buffer."""

    __slots__ = ("_in_flight", "_size")

    def __init__(self, in_flight: InFlight) -> None:
        self._in_flight, self._size = in_flight, 0

    def grow_to(self, size: int) -> None:
        if size > self._size:
            self._in_flight.reserve(size - self._size)
            self._size = size

    def release(self) -> None:
        self._in_flight.release(self._size)


def _route(path: str) -> Route | None:
    return ROUTES.get(path) or ROUTES.get(path.rstrip("/"))


def _keys(request: Request, call: decode.Call) -> list[str]:
    """What may be the write key: header, body, first event, query. An OAuth Bearer token is no key."""
    keys = credentials.header_keys(request.headers)
    if not keys or request.headers.get(b"authorization", b"")[:6].lower() == b"bearer":
        if key := decode.write_key_in(call):
            keys.append(key)
        keys += credentials.query_keys(request.query)
    return keys


def _announced(headers: Headers) -> int:
    length = headers.get(b"content-length", b"0")
    return int(length) if length.isdigit() else 0


_counters: dict[int, Any] = {}


def _count(status: int) -> None:
    counter = _counters.get(status)
    if counter is None:
        counter = _counters[status] = metrics.INGEST_CALLS.labels(str(status))
    TALLY.count(counter)


async def _send(send: Send, answer: Answer) -> None:
    await send({"type": "http.response.start", "status": answer.status, "headers": answer.headers})
    await send({"type": "http.response.body", "body": answer.body})
