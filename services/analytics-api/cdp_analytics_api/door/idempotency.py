"""A POST with an Idempotency-Key -> done once; its repeats get the first answer again."""

import re
from hashlib import sha256
from typing import Final
from uuid import uuid4

from starlette.datastructures import Headers
from starlette.responses import Response

from cdp_analytics_api.door.faults import answer, dependency_error
from cdp_analytics_api.door.operations import Operations
from cdp_analytics_api.door.requests import App, Message, Receive, Scope, Send
from cdp_analytics_api.ports import Claim, KeptAnswer, KeptAnswers, KeyedRequest
from cdp_analytics_api.tokens import TokenAuthenticator
from cdp_runtime.auth import Principal, admit
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import ApiError
from cdp_runtime.logs import get_logger

_log = get_logger(__name__)
_KEY: Final = re.compile(r"[\x21-\x7e]{1,200}\Z")
_MOST_KEPT: Final = 1_048_576


class Idempotency:
    """Answers below 500 (but not 429) of creating and sending calls are kept for a day."""

    def __init__(
        self,
        app: App,
        *,
        kept: KeptAnswers,
        authenticator: TokenAuthenticator,
        operations: Operations,
        clock: Clock,
    ) -> None:
        self._app, self._kept, self._authenticator = app, kept, authenticator
        self._operations, self._clock = operations, clock

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        is_post = scope["type"] == "http" and scope["method"] == "POST"
        key = Headers(scope=scope).get("idempotency-key") if is_post else None
        if key is None or not self._may_be_keyed(scope):
            await self._app(scope, receive, send)
            return
        try:
            await self._keyed(key, scope, receive, send)
        except ApiError as error:
            await answer(error)(scope, receive, send)

    def _may_be_keyed(self, scope: Scope) -> bool:
        """A path that Postgres cannot keep is refused by the route, with or without a key."""
        operation = self._operations.of(scope)
        return bool(operation.scope) and not operation.is_read and "\x00" not in scope["path"]

    async def _keyed(self, key: str, scope: Scope, receive: Receive, send: Send) -> None:
        if not _KEY.match(key):
            raise ApiError(422, "invalid", "Idempotency-Key must be 1 to 200 printable characters without spaces.")
        principal = await self._principal(scope)
        if principal is None or self._operations.of(scope).scope not in principal.scopes:
            await self._app(scope, receive, send)  # which answers 401 or 403, never what another token was told
            return
        body = await _body(receive)
        if body is None:
            return  # the client went away
        admit(scope, principal)
        request = KeyedRequest(
            workspace_id=principal.workspace_id,
            key=key,
            method=scope["method"],
            path=scope["path"],
            fingerprint=sha256(scope.get("query_string", b"") + b"\n" + body).digest(),
            owner=uuid4().hex,
        )
        claim = await self._claim(request)
        if claim.is_ours:
            await self._run(request, scope, _replayed(body, receive), send)
        else:
            await _repeated(claim)(scope, receive, send)

    async def _principal(self, scope: Scope) -> Principal | None:
        kind, _, token = Headers(scope=scope).get("authorization", "").partition(" ")
        return await self._authenticator.principal(token.strip()) if kind.lower() == "bearer" else None

    async def _claim(self, request: KeyedRequest) -> Claim:
        try:
            return await self._kept.claim(request, self._clock.now())
        except Exception as error:
            meant = dependency_error(error)
            if meant is None:
                raise
            raise meant from error

    async def _run(self, request: KeyedRequest, scope: Scope, receive: Receive, send: Send) -> None:
        """Runs the call and keeps its answer before the client gets it."""
        recorder = _Recorder()
        try:
            await self._app(scope, receive, recorder.send)
        except BaseException:
            await self._release(request)
            raise
        kept = recorder.answer()
        if _is_final(kept):
            await self._keep(request, kept)
        else:
            await self._release(request)
        for message in recorder.messages:
            await send(message)

    async def _keep(self, request: KeyedRequest, kept: KeptAnswer) -> None:
        try:
            await self._kept.keep(request, kept)
        except Exception as error:
            # the call is done: its answer must reach the client; a repeat waits a minute and runs again
            _log.warning("answer_not_kept", reason=str(error))

    async def _release(self, request: KeyedRequest) -> None:
        try:
            await self._kept.release(request)
        except Exception as error:
            _log.warning("key_not_released", reason=str(error))


class _Recorder:
    """Holds an answer's messages."""

    def __init__(self) -> None:
        self.messages: list[Message] = []

    async def send(self, message: Message) -> None:
        self.messages.append(message)

    def answer(self) -> KeptAnswer:
        start = next(message for message in self.messages if message["type"] == "http.response.start")
        body = b"".join(message.get("body", b"") for message in self.messages if message is not start)
        headers = Headers(raw=start.get("headers", []))
        return KeptAnswer(start["status"], headers.get("content-type", "application/json"), body)


def _is_final(kept: KeptAnswer) -> bool:
    return kept.status < 500 and kept.status not in (401, 403, 429) and len(kept.body) <= _MOST_KEPT


def _repeated(claim: Claim) -> Response:
    if not claim.is_same_request:
        message = "This Idempotency-Key was used for another request within the last 24 hours."
        return answer(ApiError(409, "conflict", message))
    if claim.answer is None:
        message = "The first request with this Idempotency-Key is still running."
        return answer(ApiError(409, "in_progress", message, headers={"Retry-After": "1"}))
    headers = {"Content-Type": claim.answer.content_type, "Idempotent-Replayed": "true"}
    return Response(claim.answer.body, claim.answer.status, headers)


async def _body(receive: Receive) -> bytes | None:
    """The whole body; None when the client went away before its end."""
    parts, more = [], True
    while more:
        message = await receive()
        if message["type"] != "http.request":
            return None
        parts.append(message.get("body", b""))
        more = message.get("more_body", False)
    return b"".join(parts)


def _replayed(body: bytes, receive: Receive) -> Receive:
    """The body again, then whatever else the client does."""
    given = False

    async def replay() -> Message:
        nonlocal given
        if given:
            return await receive()
        given = True
        return {"type": "http.request", "body": body, "more_body": False}

    return replay
