"""Plain events over the front door's HTTP API -> the same core as the SDKs' paths, answered event by event."""

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime
from hashlib import sha256
from itertools import count
from typing import Annotated, Any, Final
from uuid import UUID, uuid5

from fastapi import APIRouter, Depends, Request
from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from cdp_ingest import decode
from cdp_ingest.gateway import Gateway, Limits, Origin, Taken
from cdp_ingest.ports import Source
from cdp_ingest.refusals import BODY_TOO_LARGE, LOG_UNAVAILABLE, CallRefused
from cdp_ingest.seed_events import PlainJudge, references
from cdp_runtime.auth import Principal, require
from cdp_runtime.envelope import Answer, ApiError, Detail, Wire, unavailable

SOURCE_ID: Final = "http-api"
_PURCHASE: Final[dict[str, Any]] = {
    "profileId": "profile-0b57dcaf8e7e4b6f9d1f7e2f6a3c9d10",
    "type": "purchase",
    "timestamp": "2026-02-15T10:30:00.000Z",
    "properties": {
        "orderId": "ORD-789",
        "amount": 249.99,
        "currency": "USD",
        "items": [{"productId": "SKU-456", "name": "Product Name", "quantity": 2, "price": 124.995}],
    },
    "sessionId": "session-xyz789",
    "deviceId": "device-mobile123",
    "source": "web",
}


class PlainEvent(Wire):
    """One event. It names its profile by ``profileId``, ``userId``, ``anonymousId`` or ``deviceId``."""

    model_config = ConfigDict(json_schema_extra={"example": _PURCHASE}, alias_generator=to_camel, extra="forbid")

    type: str = Field(description="page_view, product_view, add_to_cart, purchase, email_open, ..., or custom")
    profile_id: str | None = Field(None, description="profile-... or kind:value, for example email:ada@example.com")
    user_id: str | None = None
    anonymous_id: str | None = None
    device_id: str | None = None
    session_id: str | None = None
    message_id: str | None = Field(None, description="repeats of it within a day are counted once")
    event: str | None = Field(None, description="the name of a custom event")
    timestamp: datetime | None = Field(None, description="when it happened, RFC 3339; now when absent")
    source: str | None = Field(None, description="web, app, email, ...")
    properties: dict[str, Any] = Field({}, description="what the event is about")
    traits: dict[str, Any] = Field({}, description="of an identify or group event")
    context: dict[str, Any] = Field({}, description="where it happened: page, campaign, device")


class PlainEvents(Wire):
    """Up to 2,500 events; each is judged by itself."""

    events: list[PlainEvent]


class RefusedPlainEvent(BaseModel):
    """An event that was set apart, with the path of its fault: it can be fixed and sent again."""

    index: int = Field(description="its place among the events of the call, from 0")
    code: str
    path: str
    message: str


class TakenEvents(Wire):
    """What became of a call. Accepted events are durable; refused ones are kept in quarantine."""

    accepted: int
    ids: list[str] = Field(description="the message ids of the accepted events, in their order")
    refused: list[RefusedPlainEvent] = Field([], description="events in quarantine")


def events_router(gateway: Gateway, limits: Limits) -> APIRouter:
    """``POST /events`` and ``POST /events/batch``."""
    router = APIRouter(tags=["events"])
    answers: dict[int | str, dict[str, Any]] = {status: {} for status in (400, 401, 403, 422, 429, 503)}

    @router.post("/events", summary="Track one event", responses=answers, openapi_extra=_body_of(PlainEvent))
    async def track(
        request: Request, principal: Annotated[Principal, Depends(require("events:write"))]
    ) -> Answer[TakenEvents]:
        body = await _read(request, limits.max_body_bytes)
        return await _take(gateway, request, principal, body, single=True, limits=limits)

    @router.post("/events/batch", summary="Track many events", responses=answers, openapi_extra=_body_of(PlainEvents))
    async def track_batch(
        request: Request, principal: Annotated[Principal, Depends(require("events:write"))]
    ) -> Answer[TakenEvents]:
        body = await _read(request, limits.max_body_bytes)
        return await _take(gateway, request, principal, body, single=False, limits=limits)

    return router


async def _take(
    gateway: Gateway, request: Request, principal: Principal, body: bytes, *, single: bool, limits: Limits
) -> Answer[TakenEvents]:
    try:
        call = decode.read_single(body) if single else decode.read_seed_batch(body, limits.max_batch_events)
        profiles = await _profiles(request, principal.workspace_id, references(call.events))
        source = Source(principal.workspace_id, SOURCE_ID, "HTTP API")
        judge = PlainJudge(profiles, _keyed_ids(request, principal.workspace_id, body))
        origin = Origin(source, "api", judge=judge, tells_refusals=True)
        taken = await gateway.take(origin, call, body)
    except CallRefused as error:
        raise _api_error(error) from error
    if taken.refused and not taken.accepted:
        raise _all_refused(taken, single)
    return Answer(data=_told(taken))


def _keyed_ids(request: Request, workspace_id: str, body: bytes) -> Iterator[str] | None:
    """Ids for the call's events in their order, the same whenever it is repeated with its Idempotency-Key.

    After a 503 nobody knows whether the log has the events. The repeat runs again, and is known by these ids. The body
    counts too: another one with the same key is another call.
    """
    key = request.headers.get("idempotency-key")
    if key is None:
        return None
    call = sha256(b"\n".join((workspace_id.encode(), request.url.path.encode(), key.encode(), body)))
    return (str(uuid5(UUID(bytes=call.digest()[:16]), str(place))) for place in count())


async def _profiles(request: Request, workspace_id: str, refs: Sequence[str]) -> Mapping[str, UUID]:
    """The profiles behind ``kind:value`` references, through identity's facet."""
    resolve = getattr(request.app.state, "facets", {}).get("resolve")
    if not refs or resolve is None:
        return {}
    found: Mapping[str, UUID] = await resolve(workspace_id, refs)
    return found


async def _read(request: Request, limit: int) -> bytes:
    parts = []
    size = 0
    async for part in request.stream():
        size += len(part)
        if size > limit:
            fault = CallRefused(BODY_TOO_LARGE, f"The limit is {limit} bytes.")
            raise ApiError(413, fault.refusal.label, str(fault))  # no SDK is told this, which the gateway spares a 413
        parts.append(part)
    return b"".join(parts)


def _told(taken: Taken) -> TakenEvents:
    refused = [
        RefusedPlainEvent(index=place, code=fault.refusal.label, path=fault.path, message=fault.message)
        for place, (_, fault, _) in zip(taken.places, taken.refused, strict=True)
    ]
    ids = [event.message_id for event in taken.accepted]
    return TakenEvents(accepted=len(ids), ids=ids, refused=refused)


def _all_refused(taken: Taken, single: bool) -> ApiError:
    """422: nothing of the call was taken, so nothing is in quarantine either; the client has it all."""
    faults = [refused.fault for refused in taken.refused]
    details = [Detail(path=fault.path, message=fault.message) for fault in faults[:100]]
    message = faults[0].message if single else f"None of the {len(faults)} events can be taken."
    return ApiError(422, faults[0].refusal.label, message, details)


def _api_error(error: CallRefused) -> ApiError:
    if error.refusal is LOG_UNAVAILABLE:
        return unavailable("kafka", str(error), error.retry_after or 1)
    details = [Detail(path=error.path, message=str(error))] if error.path else []
    headers = {} if error.retry_after is None else {"Retry-After": str(error.retry_after)}
    return ApiError(error.refusal.status, error.refusal.label, str(error), details, headers)


def _body_of(model: type[BaseModel]) -> dict[str, Any]:
    """The documentation of a body that the route reads as bytes, since its events are passed on as they are."""
    schema = model.model_json_schema(ref_template="#/components/schemas/{model}")
    definitions = schema.pop("$defs", {})
    for definition in definitions.values():
        schema["properties"]["events"]["items"] = definition
    return {"requestBody": {"required": True, "content": {"application/json": {"schema": schema}}}}
