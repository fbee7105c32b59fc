"""HTTP: audiences, their activation, status, deliveries and overlap."""

from collections.abc import Sequence
from typing import Annotated
from uuid import uuid4

from fastapi import APIRouter, Depends, Path, Query, Request

from cdp_activation.api import views
from cdp_activation.api.drafts import AudienceDrafts
from cdp_activation.api.models import (
    ActivationBody,
    AudienceDraftBody,
    AudienceStatus,
    AudienceView,
    Deleted,
    DeliveryPage,
    Listed,
    OverlapView,
    PauseBody,
)
from cdp_activation.api.paging import Cursor, Limit, delivery_place, encoded, invalid, next_cursor, page_of
from cdp_activation.catalog import Audience, AudienceStore, LinkState, NameTaken, Page, StillThere
from cdp_activation.destinations.registry import destination_type
from cdp_runtime.api import Facet
from cdp_runtime.auth import Principal, require
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import ERRORS, Answer, ApiError, Detail, not_found

Reader = Annotated[Principal, Depends(require("audiences:read"))]
Writer = Annotated[Principal, Depends(require("audiences:write"))]
AudienceId = Annotated[str, Path(examples=["audience-5f0c1b2a"])]


def router(store: AudienceStore, drafts: AudienceDrafts, clock: Clock) -> APIRouter:
    """Routes under ``/audiences``."""
    routes = APIRouter(prefix="/audiences", tags=["audiences"], responses=ERRORS)
    _crud(routes, store, drafts, clock)
    _reading(routes, store, clock)
    _acting(routes, store, clock)
    return routes


def _crud(routes: APIRouter, store: AudienceStore, drafts: AudienceDrafts, clock: Clock) -> None:
    @routes.post("", status_code=201, summary="Create an audience; it is sent nowhere before it is activated")
    async def create(body: AudienceDraftBody, principal: Writer, request: Request) -> Answer[AudienceView]:
        draft = await drafts.checked(principal.workspace_id, body)
        await _segments_exist(request, principal.workspace_id, body.segment_ids)
        audience_id = f"audience-{uuid4().hex[:16]}"
        try:
            await store.create(principal.workspace_id, audience_id, draft)
        except NameTaken as error:
            raise _name_taken(error) from error
        return Answer(data=views.audience_view(await _found(store, principal, audience_id), clock.now()))

    @routes.get("", summary="List audiences, newest first")
    async def listed(principal: Reader, page: Annotated[Page, Depends(page_of)]) -> Answer[Listed[AudienceView]]:
        found, total = await store.listed(principal.workspace_id, page)
        place = (found[-1].created_at.isoformat(), found[-1].audience_id) if found else None
        items = [views.audience_view(audience, clock.now()) for audience in found]
        return Answer(data=Listed(items=items, total=total, next_cursor=next_cursor(page, found, total, place)))

    @routes.get("/{audience_id}", summary="One audience")
    async def get(audience_id: AudienceId, principal: Reader) -> Answer[AudienceView]:
        return Answer(data=views.audience_view(await _found(store, principal, audience_id), clock.now()))

    @routes.put("/{audience_id}", summary="Change an audience; connections left out are emptied")
    async def put(
        audience_id: AudienceId, body: AudienceDraftBody, principal: Writer, request: Request
    ) -> Answer[AudienceView]:
        draft = await drafts.checked(principal.workspace_id, body)
        await _segments_exist(request, principal.workspace_id, body.segment_ids)
        try:
            if not await store.update(principal.workspace_id, audience_id, draft):
                raise not_found("audience", audience_id)
        except NameTaken as error:
            raise _name_taken(error) from error
        except StillThere as error:
            advice = "Activate with operation remove first, so that nobody is left behind."
            raise ApiError(409, "members_there", f"{str(error).capitalize()}. {advice}") from error
        return Answer(data=views.audience_view(await _found(store, principal, audience_id), clock.now()))

    @routes.delete("/{audience_id}", summary="Delete an audience; its members are taken off every destination")
    async def delete(audience_id: AudienceId, principal: Writer) -> Answer[Deleted]:
        if not await store.delete(principal.workspace_id, audience_id):
            raise not_found("audience", audience_id)
        return Answer(data=Deleted(id=audience_id))


def _reading(routes: APIRouter, store: AudienceStore, clock: Clock) -> None:
    @routes.get("/{audience_id}/status", summary="Desired, acknowledged, pending and failed members per destination")
    async def status(audience_id: AudienceId, principal: Reader) -> Answer[AudienceStatus]:
        return Answer(data=await _status(store, principal, audience_id, clock))

    @routes.get("/{audience_id}/deliveries", summary="The ledger: one row per member and destination")
    async def deliveries(
        audience_id: AudienceId, principal: Reader, limit: Limit = 100, cursor: Cursor = None
    ) -> Answer[DeliveryPage]:
        await _found(store, principal, audience_id)
        rows = await store.deliveries(principal.workspace_id, audience_id, limit, delivery_place(cursor))
        after = encoded(rows[-1].destination_id, rows[-1].profile_id) if len(rows) == limit else None
        return Answer(data=DeliveryPage(items=[views.delivery_view(row) for row in rows], next_cursor=after))

    @routes.get("/{audience_id}/overlap", summary="How many members two audiences share")
    async def overlap(
        audience_id: AudienceId,
        principal: Reader,
        compare_with: Annotated[str, Query(alias="compareWith", examples=["audience-xyz789"])],
    ) -> Answer[OverlapView]:
        await _found(store, principal, audience_id)
        await _found(store, principal, compare_with)
        found = await store.overlap(principal.workspace_id, audience_id, compare_with)
        return Answer(data=views.overlap_view(audience_id, compare_with, found))


def _acting(routes: APIRouter, store: AudienceStore, clock: Clock) -> None:
    @routes.post("/{audience_id}/activate", status_code=202, summary="Add, remove or replace at a destination")
    async def activate(audience_id: AudienceId, body: ActivationBody, principal: Writer) -> Answer[AudienceStatus]:
        audience = await _found(store, principal, audience_id)
        chosen = _chosen(audience, body.platform, body.destination_id)
        guarded = [link for link in chosen if link.paused_class == "guard"]
        if guarded and not body.confirm and body.operation == "add":
            message = (
                f"{guarded[0].destination_name} is paused: {guarded[0].paused_reason}. Send confirm: true to go on."
            )
            raise ApiError(
                409, "confirmation_needed", message, [Detail(path="confirm", message="must be true to go on")]
            )
        names = [link.destination_id for link in chosen]
        waive = body.confirm or body.operation != "add"
        await store.operate(principal.workspace_id, audience_id, names, body.operation, waive=waive)
        return Answer(data=await _status(store, principal, audience_id, clock))

    @routes.post("/{audience_id}/pause", summary="Send nothing until it is activated again")
    async def pause(audience_id: AudienceId, body: PauseBody, principal: Writer) -> Answer[AudienceStatus]:
        audience = await _found(store, principal, audience_id)
        names = [link.destination_id for link in _chosen(audience, body.platform, body.destination_id)]
        await store.pause(principal.workspace_id, audience_id, names)
        return Answer(data=await _status(store, principal, audience_id, clock))


async def _found(store: AudienceStore, principal: Principal, audience_id: str) -> Audience:
    found = await store.get(principal.workspace_id, audience_id)
    if found is None:
        raise not_found("audience", audience_id)
    return found


async def _status(store: AudienceStore, principal: Principal, audience_id: str, clock: Clock) -> AudienceStatus:
    audience = await _found(store, principal, audience_id)
    tallies = await store.tallies(principal.workspace_id, audience_id)
    return views.audience_status(audience, tallies, clock.now())


def _chosen(audience: Audience, platform: str | None, destination_id: str | None) -> Sequence[LinkState]:
    """The connections that a request means. Raises ApiError 422 when it means none."""
    if destination_id is not None:
        chosen = [link for link in audience.links if link.destination_id == destination_id]
        path, name = "destinationId", destination_id
    elif platform is not None:
        type_name = destination_type(platform)
        chosen = [link for link in audience.links if link.type == type_name]
        path, name = "platform", platform
    else:
        chosen, path, name = list(audience.links), "destinationId", "any destination"
    if not chosen:
        raise invalid([Detail(path=path, message=f"this audience is not connected to {name}")])
    return chosen


async def _segments_exist(request: Request, workspace_id: str, segment_ids: Sequence[str]) -> None:
    """Asks the segmenter where it is part of this front door; elsewhere any id is taken. Raises ApiError 422."""
    facet: Facet | None = getattr(request.app.state, "facets", {}).get("segment_exists")
    if facet is None:
        return
    known = await facet(workspace_id, list(segment_ids))
    unknown = [
        Detail(path=f"segmentIds[{n}]", message=f"there is no segment {segment_id!r}")
        for n, segment_id in enumerate(segment_ids)
        if not known.get(segment_id)
    ]
    if unknown:
        raise invalid(unknown)


def _name_taken(error: NameTaken) -> ApiError:
    detail = Detail(path="name", message="another audience has this name")
    return ApiError(409, "name_taken", f"An audience named {str(error)!r} exists already.", [detail])
