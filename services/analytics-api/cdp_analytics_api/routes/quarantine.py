"""GET /events/quarantine: the refused events, each with its reason, the path of its fault and its raw bytes."""

import base64
from datetime import timedelta
from typing import Annotated, Literal

from fastapi import APIRouter, Depends, Query
from pydantic import Field

from cdp_analytics_api.cursors import Place, read_cursor, write_cursor
from cdp_analytics_api.masking import HIDDEN, masked_sentence
from cdp_analytics_api.notation import Timestamp
from cdp_analytics_api.pages import MOST_ROWS
from cdp_analytics_api.periods import EPOCH
from cdp_analytics_api.ports import Quarantine, Refused
from cdp_analytics_api.routes.events import may_see_personal
from cdp_runtime.auth import Principal, require
from cdp_runtime.envelope import Answer, Wire

Reader = Annotated[Principal, Depends(require("events:read"))]
_MICROSECOND = timedelta(microseconds=1)


class QuarantinedEvent(Wire):
    """An event that could not be taken as it came. Nothing of it is lost: ``raw`` is what the client sent."""

    id: str = Field(examples=["quarantine-2-17"])
    source_id: str = Field(examples=["web"])
    stage: Literal["ingest", "identity"]
    reason: str = Field(examples=["too_large"])
    detail: str = Field(examples=["the event has 40112 bytes, at most 32768 are taken"])
    path: str = Field(examples=["batch[2]"])
    message_id: str | None
    received_at: Timestamp
    raw: str
    encoding: Literal["utf-8", "base64"]


class QuarantineList(Wire):
    items: list[QuarantinedEvent]
    next_cursor: str | None = None


def quarantine_router(quarantine: Quarantine) -> APIRouter:
    router = APIRouter(tags=["events"])

    @router.get("/events/quarantine", summary="List refused events, newest first")
    async def refused(
        principal: Reader,
        reason: Annotated[str | None, Query(max_length=100)] = None,
        limit: Annotated[int, Query(ge=1, le=MOST_ROWS)] = 100,
        cursor: Annotated[str | None, Query(max_length=200)] = None,
    ) -> Answer[QuarantineList]:
        """Each with its reason, the path of the fault and, with the scope `profiles:pii`, its raw bytes.

        Without that scope `detail` hides what it quotes of the event. Of large events a page has fewer than `limit`: it
        is the last one when it has no `nextCursor`.
        """
        after = read_cursor(cursor, per_second=1_000_000) if cursor else None
        place = (EPOCH + after.at * _MICROSECOND, after.partition, after.offset) if after else None
        found, is_more = await quarantine.page(principal.workspace_id, reason, limit, place)
        items = [shown(one, pii=may_see_personal(principal)) for one in found]
        return Answer(data=QuarantineList(items=items, next_cursor=_place(found[-1]) if is_more else None))

    return router


def shown(refused: Refused, *, pii: bool) -> QuarantinedEvent:
    """A refused event as clients see it; the raw bytes as text where they are text."""
    event = refused.event
    raw, encoding = _text(event.raw)
    return QuarantinedEvent(
        id=f"quarantine-{refused.partition}-{refused.offset}",
        source_id=event.source_id,
        stage=event.stage,
        reason=event.reason,
        detail=event.detail if pii else masked_sentence(event.detail),
        path=event.path,
        message_id=event.message_id,
        received_at=event.received_at,
        raw=raw if pii else HIDDEN,
        encoding=encoding if pii else "utf-8",
    )


def _text(raw: bytes) -> tuple[str, Literal["utf-8", "base64"]]:
    try:
        return raw.decode(), "utf-8"
    except UnicodeDecodeError:
        return base64.b64encode(raw).decode(), "base64"


def _place(last: Refused) -> str:
    return write_cursor(Place((last.event.received_at - EPOCH) // _MICROSECOND, last.partition, last.offset))
