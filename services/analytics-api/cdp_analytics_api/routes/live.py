"""WebSocket and Server-Sent Events: the events of a workspace as identity places them."""

import asyncio
import json
from collections.abc import AsyncIterator
from typing import Annotated, Final

from fastapi import APIRouter, Depends, Request, WebSocket
from starlette.responses import StreamingResponse
from starlette.websockets import WebSocketDisconnect

from cdp_analytics_api.door.callers import SUBPROTOCOL
from cdp_analytics_api.event_view import EventView, hidden
from cdp_analytics_api.live import STOPPED, Delivery, Listener
from cdp_analytics_api.routes.attendance import Attendance, Caller
from cdp_analytics_api.routes.events import may_see_personal
from cdp_analytics_api.stream import LiveStream
from cdp_runtime.envelope import ApiError

_HEARTBEAT_S: Final = 15.0
_READY_S: Final = 15.0


def live_router(stream: LiveStream, attendance: Attendance) -> APIRouter:
    router = APIRouter(tags=["live"])
    Attending = Annotated[Listener, Depends(attendance.attend)]

    @router.websocket("/events/stream")
    @router.websocket("/ws/events")
    async def websocket_events(websocket: WebSocket, principal: Caller, listener: Attending) -> None:
        offered = websocket.scope.get("subprotocols", [])
        await websocket.accept(subprotocol=SUBPROTOCOL if SUBPROTOCOL in offered else None)
        await _talk(
            websocket, listener, stream, pii=may_see_personal(principal), patience=attendance.care.stall_seconds
        )

    @router.get(
        "/events/stream",
        summary="Follow events as they arrive (Server-Sent Events; also a WebSocket)",
        response_class=StreamingResponse,
        responses={
            200: {"content": {"text/event-stream": {"schema": {"type": "string"}}}},
            404: {"description": "No such profile."},
            406: {"description": "The Accept header does not take a stream."},
        },
        dependencies=[Depends(_streamable)],
    )
    async def sse_events(principal: Caller, listener: Attending) -> StreamingResponse:
        """Events `ready`, `event` (data: an event), `dropped` (data: how many a slow listener missed) and `closed`.

        The same address takes a WebSocket, whose messages are `{"type": "ready" | "event" | "dropped", ...}`.
        """
        body = _sse(listener, stream, pii=may_see_personal(principal))
        return StreamingResponse(body, media_type="text/event-stream", headers={"Cache-Control": "no-store"})

    return router


def _streamable(request: Request, principal: Caller) -> None:
    if "text/event-stream" not in request.headers.get("accept", ""):
        message = "This is a stream: send Accept: text/event-stream, or open it as a WebSocket."
        raise ApiError(406, "not_acceptable", message)


async def _talk(websocket: WebSocket, listener: Listener, stream: LiveStream, *, pii: bool, patience: float) -> None:
    """Sends until the client goes away or the stream has to end."""
    sending = asyncio.create_task(_send(websocket, listener, stream, pii=pii))
    leaving = asyncio.create_task(_until_gone(websocket))
    ending = asyncio.create_task(listener.ended.wait())
    tasks = (sending, leaving, ending)
    try:
        await asyncio.wait(tasks, return_when=asyncio.FIRST_COMPLETED)
        if not leaving.done():
            sending.cancel()
            why = listener.ending or STOPPED
            async with asyncio.timeout(patience):  # the code comes behind what the client has not read yet
                await websocket.close(why.code, why.sentence)
    except (TimeoutError, WebSocketDisconnect, RuntimeError):
        return  # whoever reads nothing is not told; the server cuts the connection
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


async def _send(websocket: WebSocket, listener: Listener, stream: LiveStream, *, pii: bool) -> None:
    await websocket.send_text(json.dumps(await _greeting(stream)))
    while listener.ending is None:
        delivery = await listener.next(_HEARTBEAT_S)
        if delivery.dropped:
            await _sent(websocket, listener, json.dumps({"type": "dropped", "count": delivery.dropped}))
        for view in _seen(delivery, pii):
            await _sent(websocket, listener, f'{{"type":"event","data":{view.model_dump_json(by_alias=True)}}}')


async def _sent(websocket: WebSocket, listener: Listener, text: str) -> None:
    listener.sending_since = asyncio.get_running_loop().time()
    await websocket.send_text(text)
    listener.sending_since = None


async def _until_gone(websocket: WebSocket) -> None:
    try:
        while True:
            await websocket.receive_text()  # nothing a client says matters
    except (WebSocketDisconnect, KeyError, RuntimeError):
        return


async def _sse(listener: Listener, stream: LiveStream, *, pii: bool) -> AsyncIterator[str]:
    greeting = await _greeting(stream)
    yield f"event: {greeting['type']}\ndata: {json.dumps(greeting)}\n\n"
    while listener.ending is None:
        delivery = await listener.next(_HEARTBEAT_S)
        if delivery.dropped:
            yield f'event: dropped\ndata: {{"count":{delivery.dropped}}}\n\n'
        for view in _seen(delivery, pii):
            yield f"event: event\ndata: {view.model_dump_json(by_alias=True)}\n\n"
        if not delivery.events:
            yield ": still here\n\n"
    yield f"event: closed\ndata: {json.dumps({'reason': listener.ending.sentence})}\n\n"


async def _greeting(stream: LiveStream) -> dict[str, str]:
    """``ready`` when events from now on will come, else ``waiting`` with what is missing; they come when it is back."""
    if await stream.ready(_READY_S):
        return {"type": "ready"}
    return {"type": "waiting", "reason": stream.fault or "Kafka does not answer yet"}


def _seen(delivery: Delivery, pii: bool) -> list[EventView]:
    return delivery.events if pii else [hidden(view) for view in delivery.events]
