"""HTTP: the catalog, destinations and their test. Credentials go in and never come out."""

from typing import Annotated, Literal
from uuid import uuid4

from fastapi import APIRouter, Depends, Path, Query

from cdp_activation.api import views
from cdp_activation.api.drafts import (
    addresses_stay,
    changed,
    destination_credentials,
    destination_settings,
    known_type,
)
from cdp_activation.api.models import (
    CatalogEntryView,
    Deleted,
    DestinationChangeBody,
    DestinationDraftBody,
    DestinationView,
    Listed,
    TestAnswer,
)
from cdp_activation.api.paging import next_cursor, page_of
from cdp_activation.breaker import Breaker
from cdp_activation.catalog import ChangedMeanwhile, Destination, DestinationStore, NameTaken, Page, StillThere
from cdp_activation.destinations.destination import Config
from cdp_activation.destinations.registry import DESTINATIONS
from cdp_activation.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    RejectedBatch,
    RejectedRow,
    Throttled,
    Unauthorized,
)
from cdp_activation.ports import CallFailed, Calls
from cdp_activation.ssrf import TargetPolicy
from cdp_runtime.auth import Principal, require
from cdp_runtime.clock import Clock
from cdp_runtime.envelope import ERRORS, Answer, ApiError, Detail, not_found
from cdp_runtime.secrets import CannotOpen

Reader = Annotated[Principal, Depends(require("destinations:read"))]
Writer = Annotated[Principal, Depends(require("destinations:write"))]
DestinationId = Annotated[str, Path(examples=["destination-9a1b2c3d"])]
Told = Literal["ok", "unauthorized", "misconfigured", "throttled", "unavailable", "refused"]


class DestinationParts:
    """What the routes reach."""

    def __init__(self, store: DestinationStore, calls: Calls, policy: TargetPolicy, clock: Clock, region: str) -> None:
        self.store, self.calls, self.policy, self.clock, self.region = store, calls, policy, clock, region

    async def found(self, principal: Principal, destination_id: str) -> Destination:
        """Raises ApiError 404."""
        destination = await self.store.get(principal.workspace_id, destination_id)
        if destination is None:
            raise not_found("destination", destination_id)
        return destination

    async def view(self, principal: Principal, destination_id: str) -> Answer[DestinationView]:
        return Answer(data=views.destination_view(await self.found(principal, destination_id), self.clock.now()))


def router(parts: DestinationParts) -> APIRouter:
    """Routes under ``/destinations``."""
    routes = APIRouter(prefix="/destinations", tags=["destinations"], responses=ERRORS)
    _reading(routes, parts)
    _writing(routes, parts)

    @routes.post(
        "/{destination_id}/test", summary="Call the destination with its credentials; nothing is changed there"
    )
    async def test(destination_id: DestinationId, principal: Writer) -> Answer[TestAnswer]:
        destination = await parts.found(principal, destination_id)
        return Answer(data=await _tested(parts, principal, destination))

    return routes


def _reading(routes: APIRouter, parts: DestinationParts) -> None:
    @routes.get("/catalog", summary="What can be connected, with every setting")
    async def catalog(_: Reader) -> Answer[list[CatalogEntryView]]:
        return Answer(data=[views.catalog_view(destination.entry) for destination in DESTINATIONS.values()])

    @routes.get("", summary="List destinations, newest first")
    async def listed(principal: Reader, page: Annotated[Page, Depends(page_of)]) -> Answer[Listed[DestinationView]]:
        found, total = await parts.store.listed(principal.workspace_id, page)
        place = (found[-1].created_at.isoformat(), found[-1].destination_id) if found else None
        items = [views.destination_view(destination, parts.clock.now()) for destination in found]
        return Answer(data=Listed(items=items, total=total, next_cursor=next_cursor(page, found, total, place)))

    @routes.get("/{destination_id}", summary="One destination and how it does")
    async def get(destination_id: DestinationId, principal: Reader) -> Answer[DestinationView]:
        return await parts.view(principal, destination_id)


def _writing(routes: APIRouter, parts: DestinationParts) -> None:
    @routes.post("", status_code=201, summary="Create a destination")
    async def create(body: DestinationDraftBody, principal: Writer) -> Answer[DestinationView]:
        type_name = known_type(body.type)
        settings = destination_settings(type_name, body.settings, parts.policy)
        credentials = destination_credentials(type_name, body.credentials)
        now = parts.clock.now()
        destination_id = f"destination-{uuid4().hex[:16]}"
        health = (body.enabled, None, None, None, Breaker(), now, now)
        made = Destination(destination_id, body.name, type_name, settings, sorted(credentials), *health)
        try:
            await parts.store.create(principal.workspace_id, made, credentials)
        except NameTaken as error:
            raise _name_taken(error) from error
        return await parts.view(principal, destination_id)

    @routes.put("/{destination_id}", summary="Change a destination; what is left out stays")
    async def put(
        destination_id: DestinationId, body: DestinationChangeBody, principal: Writer
    ) -> Answer[DestinationView]:
        await _change(parts, principal, await parts.found(principal, destination_id), body)
        return await parts.view(principal, destination_id)

    @routes.delete("/{destination_id}", summary="Delete a destination and its credentials")
    async def delete(
        destination_id: DestinationId,
        principal: Writer,
        force: Annotated[bool, Query(description="also when members would stay there for ever")] = False,
    ) -> Answer[Deleted]:
        try:
            if not await parts.store.delete(principal.workspace_id, destination_id, force=force):
                raise not_found("destination", destination_id)
        except StillThere as error:
            advice = "Activate its audiences with operation remove first, or delete with force=true."
            raise ApiError(409, "members_there", f"{str(error).capitalize()}. {advice}") from error
        return Answer(data=Deleted(id=destination_id))


async def _change(
    parts: DestinationParts, principal: Principal, present: Destination, body: DestinationChangeBody
) -> None:
    settings, credentials = body.settings, body.credentials
    if settings is not None:
        settings = destination_settings(present.type, settings, parts.policy)
    if credentials is not None:
        credentials = destination_credentials(present.type, credentials)
    elif settings is not None:
        addresses_stay(present, settings)
    wanted = changed(present, name=body.name, settings=settings, enabled=body.enabled)
    try:
        await parts.store.update(principal.workspace_id, wanted, credentials)
    except NameTaken as error:
        raise _name_taken(error) from error
    except ChangedMeanwhile as error:
        raise _changed_meanwhile(error) from error


async def _tested(parts: DestinationParts, principal: Principal, destination: Destination) -> TestAnswer:
    started = parts.clock.monotonic()
    outcome = await _probed(parts, principal, destination)
    told, message = _told(outcome)
    if told == "ok" and destination.paused_class == "unauthorized":
        await parts.store.resume(principal.workspace_id, destination.destination_id)
    took = int((parts.clock.monotonic() - started) * 1000)
    return TestAnswer(ok=told == "ok", outcome=told, message=message, took_ms=took)


async def _probed(parts: DestinationParts, principal: Principal, destination: Destination) -> Outcome | CallFailed:
    kind = DESTINATIONS[destination.type]
    try:
        credentials = await parts.store.credentials(principal.workspace_id, destination)
    except CannotOpen as error:
        return Unauthorized(str(error))
    except ChangedMeanwhile as error:
        raise _changed_meanwhile(error) from error
    config = Config(destination.settings, credentials, {}, parts.region)
    try:
        response = await parts.calls.send(kind.probe(config, parts.clock.now()))
    except CallFailed as failure:
        return failure
    return kind.read_probe(response, parts.clock.now()).whole


def _told(outcome: Outcome | CallFailed) -> tuple[Told, str]:
    match outcome:
        case Delivered():
            return "ok", "The destination answered and took the credentials."
        case Unauthorized(reason):
            return "unauthorized", f"{reason}. Enter other credentials."
        case Misconfigured(reason):
            return "misconfigured", f"{reason}. Correct the settings."
        case Throttled(until):
            return "throttled", f"The credentials may be good, but it asked for a pause until {until.isoformat()}."
        case RejectedBatch(reason) | RejectedRow(reason):
            return "refused", reason
        case CallFailed() if outcome.forbidden:
            return "misconfigured", f"{outcome}. Correct the settings."
        case CallFailed():
            return "unavailable", str(outcome)
    return "unavailable", outcome.reason


def _changed_meanwhile(error: ChangedMeanwhile) -> ApiError:
    message = f"The destination {str(error)!r} was changed or deleted meanwhile, and nothing was done. Try again."
    return ApiError(409, "changed_meanwhile", message)


def _name_taken(error: NameTaken) -> ApiError:
    detail = Detail(path="name", message="another destination has this name")
    return ApiError(409, "name_taken", f"A destination named {str(error)!r} exists already.", [detail])
