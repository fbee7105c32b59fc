"""WebSocket and Server-Sent Events: the events of a workspace as identity places them."""

import asyncio
import json
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Query, Request, WebSocket
from starlette.requests import HTTPConnection
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from cdp_analytics_api.door.callers import SUBPROTOCOL, token_of
from cdp_analytics_api.event_view import EventView, hidden
from cdp_analytics_api.live import Delivery, Interest, Listener, Listeners
from cdp_analytics_api.ports import Directory
from cdp_analytics_api.references import resolve
from cdp_analytics_api.routes.events import known_type, may_see_personal
from cdp_analytics_api.stream import LiveStream
from cdp_runtime.auth import Authenticator, Principal
from cdp_runtime.envelope import ApiError
from cdp_schemas.event_names import names_matching
from cdp_schemas.profiles import profile_ref

SCOPE: Final = "events:read"
_HEARTBEAT_S: Final = 15.0
_READY_S: Final = 15.0


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """What a listener wants to see."""

    type: Annotated[str | None, Query(description="an event type", examples=["purchase"])] = None
    event: Annotated[str | None, Query(max_length=200, description="an event name")] = None
    profile: Annotated[str | None, Query(alias="profileId", max_length=500, description="id or kind:value")] = None


async def listening(connection: HTTPConnection) -> Principal:
    """The caller, by header, subprotocol (``bearer, <token>``) or ``?token=``: browsers cannot set headers here."""
    authenticator: Authenticator = connection.app.state.authenticator
    token = token_of(connection)
    principal = await authenticator.principal(token) if token else None
    if principal is None:
        message = "Send an API token: the Authorization header, the subprotocols bearer and <token>, or ?token=."
        raise ApiError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
    connection.state.principal = principal
    if SCOPE not in principal.scopes:
        raise ApiError(403, "forbidden", f"This API token lacks the scope {SCOPE}.")
    return principal


listening.scope = SCOPE  # type: ignore[attr-defined] # read by the audit and the OpenAPI document
Caller = Annotated[Principal, Depends(listening)]
Wanted = Annotated[StreamQuery, Depends()]


def live_router(listeners: Listeners, stream: LiveStream, directory: Directory) -> APIRouter:
    router = APIRouter(tags=["live"])

    async def interest(connection: HTTPConnection, principal: Principal, wanted: StreamQuery) -> Interest:
        workspace, facets = principal.workspace_id, connection.app.state.facets
        profile = await resolve(workspace, wanted.profile, facets, directory) if wanted.profile else None
        return Interest(
            workspace_id=workspace,
            type=known_type(wanted.type),
            names=frozenset(names_matching(wanted.event)) if wanted.event else None,
            profile_id=profile_ref(profile) if profile else None,
        )

    @router.websocket("/events/stream")
    @router.websocket("/ws/events")
    async def websocket_events(websocket: WebSocket, principal: Caller, wanted: Wanted) -> None:
        listener = listeners.add(await interest(websocket, principal, wanted))
        try:
            offered = websocket.scope.get("subprotocols", [])
            await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
            await _talk(websocket, listener, stream, pii=may_see_personal(principal))
        finally:
            listeners.remove(listener)

    @router.get(
        "/events/stream",
        summary="Follow events as they arrive (Server-Sent Events; also a WebSocket)",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            404: {"description": "No such profile."},
            406: {"description": "The Accept header does not take a stream."},
        },
    )
    async def sse_events(request: Request, principal: Caller, wanted: Wanted) -> StreamingResponse:
        """Events `ready`, `event` (data: an event) and `dropped` (data: how many a slow listener missed).

        The same address takes a WebSocket, whose messages are `{"type": "ready" | "event" | "dropped", ...}`.
        """
        if "text/event-stream" not in request.headers.get("accept", ""):
            message = "This is a stream: send Accept: text/event-stream, or open it as a WebSocket."
            raise ApiError(406, "not_acceptable", message)
        listener = listeners.add(await interest(request, principal, wanted))
        body = _sse(listeners, listener, stream, pii=may_see_personal(principal))
        return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


async def _talk(websocket: WebSocket, listener: Listener, stream: LiveStream, *, pii: bool) -> None:
    """Sends until the client goes away or the process ends."""
    sending = asyncio.create_task(_send(websocket, listener, stream, pii=pii))
    leaving = asyncio.create_task(_until_gone(websocket))
    try:
        await asyncio.wait({sending, leaving}, return_when=asyncio.FIRST_COMPLETED)
        if sending.done() and not leaving.done():
            await websocket.close(1001, "the server stops")
    finally:
        for task in (sending, leaving):
            task.cancel()
        await asyncio.gather(sending, leaving, return_exceptions=True)


async def _send(websocket: WebSocket, listener: Listener, stream: LiveStream, *, pii: bool) -> None:
    await websocket.send_text(json.dumps(await _greeting(stream)))
    while not listener.closed:
        delivery = await listener.next(_HEARTBEAT_S)
        if delivery.dropped:
            await websocket.send_text(json.dumps({"type": "dropped", "count": delivery.dropped}))
        for view in _seen(delivery, pii):
            await websocket.send_text(f'{{"type":"event","data":{view.model_dump_json(by_alias=True)}}}')


async def _until_gone(websocket: WebSocket) -> None:
    try:
        while True:
            await websocket.receive_text()  # nothing a client says matters
    except (WebSocketDisconnect, KeyError, RuntimeError):
        return


async def _sse(listeners: Listeners, listener: Listener, stream: LiveStream, *, pii: bool) -> AsyncIterator[str]:
    try:
        greeting = await _greeting(stream)
        yield f"event: {greeting['type']}\ndata: {json.dumps(greeting)}\n\n"
        while not listener.closed:
            delivery = await listener.next(_HEARTBEAT_S)
            if delivery.dropped:
                yield f'event: dropped\ndata: {{"count":{delivery.dropped}}}\n\n'
            for view in _seen(delivery, pii):
                yield f"event: event\ndata: {view.model_dump_json(by_alias=True)}\n\n"
            if not delivery.events:
                yield ": still here\n\n"
    finally:
        listeners.remove(listener)


async def _greeting(stream: LiveStream) -> dict[str, str]:
    """``ready`` when events from now on will come, else ``waiting`` with what is missing; they come when it is back."""
    if await stream.ready(_READY_S):
        return {"type": "ready"}
    return {"type": "waiting", "reason": stream.fault or "Kafka does not answer yet"}


def _seen(delivery: Delivery, pii: bool) -> list[EventView]:
    return delivery.events if pii else [hidden(view) for view in delivery.events]
