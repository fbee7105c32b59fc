"""A token's requests and an address's wrong tokens -> let through or told to wait; too large a body -> refused."""

import math
from collections.abc import Sequence
from typing import Final

from fastapi import HTTPException
from starlette.datastructures import Headers

from cdp_analytics_api.door.callers import Caller, caller_of
from cdp_analytics_api.door.faults import answer
from cdp_analytics_api.door.requests import STARTS, App, Message, Receive, Scope, Send
from cdp_analytics_api.ports import RateLimiter, Verdict
from cdp_analytics_api.tokens import TokenAuthenticator
from cdp_runtime.clients import Network
from cdp_runtime.envelope import ApiError
from cdp_runtime.metrics import API_GUESSES_LIMITED, API_RATE_LIMITED

_FREE: Final = frozenset({"/", "/api/cdp/health", "/docs", "/redoc", "/openapi.json"})


class _BodyTooLarge(HTTPException):
    """Of all that reading a body may raise, FastAPI hands on this alone."""


class Limits:
    """Requests per token, else per address; wrong tokens per address; bytes per body.

    A token that was good before is no guess: whoever shares an address with a guesser goes on. Every other token
    counts before it is looked up, so that many at once are not more than one after another, and is forgiven when the
    answer is not 401.
    """

    def __init__(
        self,
        app: App,
        *,
        requests: RateLimiter,
        guesses: RateLimiter,
        authenticator: TokenAuthenticator,
        proxies: Sequence[Network],
        body_bytes: int,
    ) -> None:
        self._app, self._requests, self._guesses = app, requests, guesses
        self._authenticator, self._proxies, self._body_bytes = authenticator, proxies, body_bytes

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] not in ("http", "websocket") or scope["path"] in _FREE or scope.get("method") == "OPTIONS":
            await self._app(scope, receive, send)
            return
        length = Headers(scope=scope).get("content-length", "")
        if length.isdigit() and int(length) > self._body_bytes:
            await answer(self._too_large())(scope, receive, send)
            return
        caller = scope["state"]["caller"] = caller_of(scope, self._proxies)
        is_guess = bool(caller.token) and not self._authenticator.remembers(caller.token)
        refused = await self._refused(caller, is_guess=is_guess)
        if refused is not None:
            await answer(refused)(scope, receive, send)
            return
        send = self._forgiving(caller, send) if is_guess else send
        try:
            await self._app(scope, self._bounded(receive), send)
        except _BodyTooLarge:  # a layer read the body; of a route the application has answered it
            await answer(self._too_large())(scope, receive, send)

    async def _refused(self, caller: Caller, *, is_guess: bool) -> ApiError | None:
        if is_guess:
            verdict = await self._guesses.admit(caller.client)
            if not verdict.allowed:
                API_GUESSES_LIMITED.inc()
                return _limited("too_many_wrong_tokens", "Too many wrong API tokens come from this address", verdict)
        verdict = await self._requests.admit(caller.key)
        if verdict.allowed:
            return None
        API_RATE_LIMITED.inc()
        return _limited("rate_limited", "This API token makes too many requests", verdict)

    def _forgiving(self, caller: Caller, send: Send) -> Send:
        """The guess counts only when the answer says that it was wrong."""

        async def judged(message: Message) -> None:
            if message["type"] in STARTS and message.get("status") != 401:
                await self._guesses.forgive(caller.client)
            await send(message)

        return judged

    def _bounded(self, receive: Receive) -> Receive:
        """Bodies without a length (chunked) are counted as they come."""
        left = self._body_bytes

        async def bounded() -> Message:
            nonlocal left
            message = await receive()
            left -= len(message.get("body", b""))
            if left < 0:
                raise _BodyTooLarge(413, self._too_large().message)
            return message

        return bounded

    def _too_large(self) -> ApiError:
        return ApiError(413, "too_large", f"The body is larger than {self._body_bytes} bytes.")


def _limited(code: str, reason: str, verdict: Verdict) -> ApiError:
    seconds = max(1, math.ceil(verdict.retry_after))
    return ApiError(429, code, f"{reason}; try again in {seconds} s.", headers={"Retry-After": str(seconds)})
