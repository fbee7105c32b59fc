"""HTTP -> profiles and consent: reads from Postgres, changes as events that the resolver applies like all others."""

import asyncio
from collections.abc import Iterable, Mapping, Sequence
from typing import Annotated, Any
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Path, Request, Response

from cdp_identity import api_answers as answers
from cdp_identity.api_answers import ConsentBody, ConsentState, Deleted, Graph, ProfilePage
from cdp_identity.api_ports import Changes, Reading
from cdp_identity.graph import canonical
from cdp_identity.identifiers import ANONYMOUS_ID, USER_ID, Identifier, Spelling
from cdp_identity.references import external_entries, identifiers_of, node_of, refuse_other_users
from cdp_identity.search import BadAmount, ProfileSearch, conditions
from cdp_identity.shapes import Pending, Profile, ProfileBody, profile_of
from cdp_identity.writing import Change
from cdp_runtime.auth import Principal, require
from cdp_runtime.envelope import Answer, ApiError, Detail, not_found
from cdp_schemas.profiles import ProfileUpdated, parse_profile_ref, profile_ref

Ref = Annotated[
    str,
    Path(
        description="A profile id, or kind:value. The id of a merged profile answers with the survivor.",
        examples=["email:ada@example.org"],
        max_length=600,
    ),
]
MayRead = Annotated[Principal, Depends(require("profiles:read"))]
MayWrite = Annotated[Principal, Depends(require("profiles:write"))]
MayReadConsent = Annotated[Principal, Depends(require("consent:read"))]
MayWriteConsent = Annotated[Principal, Depends(require("consent:write"))]
_ERRORS: dict[int | str, dict[str, Any]] = {
    code: {"description": text}
    for code, text in {404: "No such profile", 422: "Invalid", 503: "A dependency is down"}.items()
}


class IdentityApi:
    """The routes of profiles and consent, and the facets that other routers compose with."""

    def __init__(self, reading: Reading, changes: Changes, spelling: Spelling, currency: str) -> None:
        self._reading, self._changes = reading, changes
        self._spelling, self._currency = spelling, currency

    def router(self) -> APIRouter:
        router = APIRouter(responses=_ERRORS)
        profiles = APIRouter(tags=["profiles"])
        late: dict[int | str, dict[str, Any]] = {202: {"model": Answer[Pending], "description": "Applied soon"}}
        taken: dict[int | str, dict[str, Any]] = {409: {"description": "Belongs to another profile"}}
        profiles.post("/profiles", status_code=201, summary="Create a profile", responses=late | taken)(self.create)
        profiles.post("/profiles/search", summary="Find profiles")(self.search)
        profiles.get("/profiles/{ref}", summary="Get a profile")(self.get)
        profiles.put("/profiles/{ref}", summary="Change a profile", responses=late | taken)(self.update)
        profiles.delete("/profiles/{ref}", summary="Erase a profile", responses=late)(self.delete)
        profiles.get("/profiles/{ref}/identities", summary="Why these identifiers are one profile")(self.identities)
        consent = APIRouter(tags=["consent"])
        consent.post("/consent", summary="Set consent per purpose", responses=late)(self.set_consent)
        consent.get("/consent/{ref}", summary="Consent now and its history")(self.get_consent)
        router.include_router(profiles)
        router.include_router(consent)
        return router

    async def create(
        self, body: ProfileBody, request: Request, response: Response, who: MayWrite
    ) -> Answer[Profile] | Answer[Pending]:
        """Creates a profile. 409 when one of its identifiers has a profile already."""
        _refuse_computed(body)
        found = identifiers_of(who.workspace_id, body, self._spelling)
        await self._refuse_taken(who.workspace_id, found)
        refuse_other_users(found, None, {})
        named = list(found) or [self._nameless(who.workspace_id)]
        kinds = {one.node_id: one.kind for one in named}
        first = min(named, key=lambda one: (one.kind != USER_ID, one.kind != ANONYMOUS_ID))
        fields = _fields(named, USER_ID, ANONYMOUS_ID)
        change = Change("identify", first.value, fields, _said(body, named, fields))
        return await self._written(who, change, canonical(kinds, kinds), request, response)

    async def get(self, ref: Ref, request: Request, who: MayRead) -> Answer[Profile]:
        """A profile's golden record."""
        record = await self._record(who.workspace_id, ref)
        return Answer(data=await self._shown(request, who, record))

    async def update(
        self, ref: Ref, body: ProfileBody, request: Request, response: Response, who: MayWrite
    ) -> Answer[Profile] | Answer[Pending]:
        """Sets the traits and consents that are named, adds the identifiers; null removes a trait.

        An identifier of another profile makes the two one; 409 when they have two user ids.
        """
        _refuse_computed(body)
        found = identifiers_of(who.workspace_id, body, self._spelling)
        profile = await self._profile_id(who.workspace_id, ref)
        await self._refuse_other_users(who.workspace_id, found, profile)
        fields = {"profile_id": profile_ref(profile), **_fields(found, USER_ID)}
        change = Change("identify", fields["profile_id"], fields, _said(body, found, fields))
        return await self._written(who, change, profile, request, response)

    async def delete(self, ref: Ref, response: Response, who: MayWrite) -> Answer[Deleted] | Answer[Pending]:
        """Erases a profile with all its identifiers; what of it still arrives late stays out."""
        profile = await self._profile_id(who.workspace_id, ref)
        change = Change("delete", profile_ref(profile), {"profile_id": profile_ref(profile)})
        message_id, applied = await self._changes.apply(who.workspace_id, change)
        if not applied:
            return _pending(response, profile, message_id)
        return Answer(data=Deleted(id=profile_ref(profile)))

    async def search(self, body: ProfileSearch, request: Request, who: MayRead) -> Answer[ProfilePage]:
        """Profiles for which every condition holds, in the order of their ids; of many, `total` is an estimate."""
        after = parse_profile_ref(body.cursor) if body.cursor else None
        if body.cursor and after is None:
            raise _invalid("cursor", "is not one that a search answered with")
        try:
            asked = conditions(who.workspace_id, body, self._currency, self._spelling)
        except BadAmount as error:
            raise _invalid(error.path, str(error)) from error
        found = await self._reading.search(asked, body.limit, body.offset, after)
        ids = found.ids
        records, segments = await asyncio.gather(
            self._reading.records(who.workspace_id, ids), _segments(request, who.workspace_id, ids)
        )
        sees_pii = "profiles:pii" in who.scopes
        shown = [profile_of(records[one], segments.get(one, []), sees_pii=sees_pii) for one in ids if one in records]
        cursor = profile_ref(ids[-1]) if found.is_more else None
        page = ProfilePage(
            profiles=shown, total=found.total, total_is_exact=found.is_exact, limit=body.limit, cursor=cursor
        )
        return Answer(data=page)

    async def identities(self, ref: Ref, who: MayRead) -> Answer[Graph]:
        """The nodes of a profile and every link between them with its evidence, those that do not hold included."""
        profile = await self._profile_id(who.workspace_id, ref)
        nodes, links = await self._reading.graph(who.workspace_id, profile)
        strangers = {end for row in links for end in row.link.pair} - {node.node_id for node in nodes}
        names = await self._reading.names(who.workspace_id, strangers)
        sees_pii = "profiles:pii" in who.scopes
        return Answer(data=answers.graph(profile, nodes, links, names, sees_pii=sees_pii))

    async def set_consent(
        self, body: ConsentBody, response: Response, who: MayWriteConsent
    ) -> Answer[ConsentState] | Answer[Pending]:
        """Allows or forbids the purposes that are named; the others stay as they are."""
        profile = await self._profile_id(who.workspace_id, body.profile_id)
        name = profile_ref(profile)
        change = Change("consent", name, {"profile_id": name}, {"properties": body.purposes()})
        message_id, applied = await self._changes.apply(who.workspace_id, change)
        if not applied:
            return _pending(response, profile, message_id)
        return await self._consent(who.workspace_id, profile_ref(profile))

    async def get_consent(self, ref: Ref, who: MayReadConsent) -> Answer[ConsentState]:
        """What is allowed now, and every statement that led there, the latest first."""
        return await self._consent(who.workspace_id, ref)

    async def profiles_facet(self, workspace_id: str, ids: Sequence[UUID]) -> Mapping[UUID, dict[str, Any]]:
        """Facet ``profiles``: profile ids -> profiles as JSON objects; unknown ones are missing."""
        records = await self._reading.records(workspace_id, ids)
        return {one: profile_of(record, []).model_dump(by_alias=True, mode="json") for one, record in records.items()}

    async def resolve_facet(self, workspace_id: str, refs: Sequence[str]) -> Mapping[str, UUID]:
        """Facet ``resolve``: references (``profile-…`` or ``kind:value``) -> profile ids; unknown ones are missing."""
        nodes = {ref: node for ref in refs if (node := node_of(workspace_id, ref, self._spelling)) is not None}
        profiles = await self._reading.profiles_of(workspace_id, set(nodes.values()))
        return {ref: profiles[node] for ref, node in nodes.items() if node in profiles}

    async def _consent(self, workspace_id: str, ref: str) -> Answer[ConsentState]:
        record = await self._record(workspace_id, ref)
        nodes, _ = await self._reading.graph(workspace_id, record.profile_id)
        history = await self._reading.consents(workspace_id, [node.node_id for node in nodes])
        return Answer(data=answers.consent_state(record, history))

    async def _written(
        self, who: Principal, change: Change, node: UUID, request: Request, response: Response
    ) -> Answer[Profile] | Answer[Pending]:
        message_id, applied = await self._changes.apply(who.workspace_id, change)
        found = await self._reading.profiles_of(who.workspace_id, [node]) if applied else {}
        records = await self._reading.records(who.workspace_id, list(found.values()))
        if not records:
            return _pending(response, node, message_id)
        return Answer(data=await self._shown(request, who, next(iter(records.values()))))

    def _nameless(self, workspace_id: str) -> Identifier:
        """A profile without any identifier gets an anonymous id of its own."""
        value = str(uuid4())
        node = node_of(workspace_id, f"{ANONYMOUS_ID}:{value}", self._spelling)
        assert node is not None
        return Identifier(ANONYMOUS_ID, value, node)

    async def _refuse_taken(self, workspace_id: str, found: Mapping[Identifier, str]) -> None:
        taken = await self._reading.profiles_of(workspace_id, [one.node_id for one in found])
        details = [
            Detail(path=path, message=f"belongs to {profile_ref(taken[one.node_id])}")
            for one, path in found.items()
            if one.node_id in taken
        ]
        if details:
            raise ApiError(409, "conflict", "A profile with this identifier exists: change it with PUT.", details)

    async def _refuse_other_users(self, workspace_id: str, found: Mapping[Identifier, str], profile: UUID) -> None:
        if not found:
            return
        taken = await self._reading.profiles_of(workspace_id, [one.node_id for one in found])
        records = await self._reading.records(workspace_id, {profile, *taken.values()})
        owners = {node: records[owner] for node, owner in taken.items() if owner != profile and owner in records}
        refuse_other_users(found, records.get(profile), owners)

    async def _profile_id(self, workspace_id: str, ref: str) -> UUID:
        profile = (await self.resolve_facet(workspace_id, [ref])).get(ref)
        if profile is None:
            raise not_found("profile", ref)
        return profile

    async def _record(self, workspace_id: str, ref: str) -> ProfileUpdated:
        node = node_of(workspace_id, ref, self._spelling)
        record = None if node is None else await self._reading.record_of(workspace_id, node)
        if record is None:
            raise not_found("profile", ref)
        return record

    async def _shown(self, request: Request, who: Principal, record: ProfileUpdated) -> Profile:
        segments = await _segments(request, who.workspace_id, [record.profile_id])
        sees_pii = "profiles:pii" in who.scopes
        return profile_of(record, segments.get(record.profile_id, []), sees_pii=sees_pii)


async def _segments(request: Request, workspace_id: str, ids: Sequence[UUID]) -> Mapping[UUID, list[str]]:
    """Segment ids per profile, where a service offers them."""
    facet = request.app.state.facets.get("segments")
    return {} if facet is None else await facet(workspace_id, ids)


def _fields(found: Iterable[Identifier], *kinds: str) -> dict[str, str]:
    """The first identifier of each of these kinds, as an event has it in a field of its own."""
    fields: dict[str, str] = {}
    for one in found:
        if one.kind in kinds:
            fields.setdefault(one.kind, one.value)
    return fields


def _said(body: ProfileBody, found: Iterable[Identifier], fields: Mapping[str, str]) -> dict[str, Any]:
    """What a body says, with the identifiers that have no field of their own."""
    others = [one for one in found if fields.get(one.kind) != one.value]
    context: dict[str, Any] = {"externalIds": external_entries(others)} if others else {}
    if body.consent:
        context["consent"] = {"categoryPreferences": body.consent}
    return {"traits": body.traits(), "context": context}


def _pending(response: Response, profile: UUID, message_id: str) -> Answer[Pending]:
    response.status_code = 202
    return Answer(data=Pending(id=profile_ref(profile), message_id=message_id))


def _refuse_computed(body: ProfileBody) -> None:
    if body.computed is None:
        return
    names = [f"computed.{name}" for name in body.computed] if isinstance(body.computed, dict) else ["computed"]
    details = [Detail(path=name, message="is read-only: it is computed from events") for name in names or ["computed"]]
    raise ApiError(422, "read_only", "Computed values follow from events: send those instead.", details)


def _invalid(path: str, message: str) -> ApiError:
    return ApiError(422, "invalid", f"{path} {message}.", [Detail(path=path, message=message)])
