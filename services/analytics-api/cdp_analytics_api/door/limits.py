"""A token's requests -> let through or told to wait; too large a body -> refused before it is read."""

import math
from typing import Final

from starlette.datastructures import Headers

from cdp_analytics_api.door.faults import answer
from cdp_analytics_api.door.requests import App, Message, Receive, Scope, Send
from cdp_analytics_api.ports import RateLimiter
from cdp_runtime.auth import hash_token
from cdp_runtime.envelope import ApiError
from cdp_runtime.metrics import API_RATE_LIMITED

_FREE: Final = frozenset({"/", "/api/cdp/health", "/docs", "/redoc", "/openapi.json"})


class Limits:
    """Requests per token, else per address, and bytes per body."""

    def __init__(self, app: App, *, limiter: RateLimiter, body_bytes: int) -> None:
        self._app, self._limiter, self._body_bytes = app, limiter, body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http" or scope["path"] in _FREE or scope["method"] == "OPTIONS":
            await self._app(scope, receive, send)
            return
        headers = Headers(scope=scope)
        length = headers.get("content-length", "")
        if length.isdigit() and int(length) > self._body_bytes:
            await answer(_too_large(self._body_bytes))(scope, receive, send)
            return
        verdict = await self._limiter.admit(_caller(scope, headers))
        if not verdict.allowed:
            API_RATE_LIMITED.inc()
            await answer(_limited(verdict.retry_after))(scope, receive, send)
            return
        await self._app(scope, self._bounded(receive), send)

    def _bounded(self, receive: Receive) -> Receive:
        """Bodies without a length (chunked) are counted as they come."""
        left = self._body_bytes

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _too_large(self._body_bytes)
            return message

        return bounded


def _caller(scope: Scope, headers: Headers) -> str:
    kind, _, token = headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer" and token.strip():
        return "token:" + hash_token(token.strip())
    client = scope.get("client")
    return "address:" + (client[0] if client else "unknown")


def _limited(retry_after: float) -> ApiError:
    seconds = max(1, math.ceil(retry_after))
    message = f"This API token makes too many requests; try again in {seconds} s."
    return ApiError(429, "rate_limited", message, headers={"Retry-After": str(seconds)})


def _too_large(limit: int) -> ApiError:
    return ApiError(413, "too_large", f"The body is larger than {limit} bytes.")
