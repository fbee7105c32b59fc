"""HTTP: the suppression list, whose members are never sent and are taken off where they are."""

from collections.abc import Mapping
from typing import Annotated, Any
from uuid import uuid4

from fastapi import APIRouter, Depends, Path, Request

from cdp_activation.api import views
from cdp_activation.api.models import Deleted, Listed, SuppressionBody, SuppressionView
from cdp_activation.api.paging import invalid, next_cursor, page_of
from cdp_activation.catalog import DestinationStore, Page, Suppression, SuppressionStore
from cdp_activation.keys import Keyring
from cdp_runtime.api import Facet
from cdp_runtime.auth import Principal, require
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import ERRORS, Answer, ApiError, Detail, not_found
from cdp_schemas.profiles import parse_profile_ref

Reader = Annotated[Principal, Depends(require("audiences:read"))]
Writer = Annotated[Principal, Depends(require("audiences:write"))]


def router(store: SuppressionStore, destinations: DestinationStore, keyring: Keyring, clock: Clock) -> APIRouter:
    """Routes under ``/suppressions``."""
    routes = APIRouter(prefix="/suppressions", tags=["suppressions"], responses=ERRORS)

    @routes.post("", status_code=201, summary="Never send somebody again, and take them off where they are")
    async def add(body: SuppressionBody, principal: Writer, request: Request) -> Answer[SuppressionView]:
        at = body.destination_id
        if at is not None and await destinations.get(principal.workspace_id, at) is None:
            raise invalid([Detail(path="destinationId", message=f"there is no destination {at!r}")])
        name = f"suppression-{uuid4().hex[:16]}"
        value = await _value(request, principal.workspace_id, body)
        made = Suppression(name, body.kind, views.hint(value), at, body.reason, clock.now())
        if not await store.add(principal.workspace_id, made, keyring.identifier(body.kind, value)):
            raise ApiError(409, "listed_already", "This value is on the suppression list already.")
        return Answer(data=views.suppression_view(made))

    @routes.get("", summary="The suppression list, newest first; values cannot be read back")
    async def listed(principal: Reader, page: Annotated[Page, Depends(page_of)]) -> Answer[Listed[SuppressionView]]:
        found, total = await store.listed(principal.workspace_id, page)
        place = (found[-1].created_at.isoformat(), found[-1].suppression_id) if found else None
        items = [views.suppression_view(suppression) for suppression in found]
        return Answer(data=Listed(items=items, total=total, next_cursor=next_cursor(page, found, total, place)))

    @routes.delete("/{suppression_id}", summary="Take somebody off the list")
    async def remove(suppression_id: Annotated[str, Path()], principal: Writer) -> Answer[Deleted]:
        if not await store.remove(principal.workspace_id, suppression_id):
            raise not_found("suppression", suppression_id)
        return Answer(data=Deleted(id=suppression_id))

    return routes


async def _value(request: Request, workspace_id: str, body: SuppressionBody) -> str:
    """What is suppressed. An id that a profile had before a merge or a sign-in means the profile that it became."""
    if body.kind != "profile_id":
        return body.value
    found = parse_profile_ref(body.value)
    if found is None:
        raise invalid([Detail(path="value", message="must be profile- and 32 hex digits")])
    facet: Facet | None = getattr(request.app.state, "facets", {}).get("resolve")
    present: Mapping[Any, Any] = {} if facet is None else await facet(workspace_id, [body.value])
    return str(present.get(body.value, found))
