"""HTTP -> segments: their definitions, members, sizes, previews and explanations."""

import base64
import binascii
from collections.abc import Awaitable, Sequence
from functools import partial
from typing import Annotated, Any, TypeVar
from uuid import UUID, uuid4

from fastapi import APIRouter, Depends, Path, Query, Request

from cdp_clickhouse.errors import StoreUnavailable
from cdp_runtime.auth import Principal, require
from cdp_runtime.envelope import ERRORS, Answer, ApiError, Detail, not_found, unavailable
from cdp_runtime.postgres import retryable
from cdp_schemas.profiles import parse_profile_ref, profile_ref
from cdp_segmenter.api_models import (
    Deleted,
    ExplainView,
    Listed,
    MembersBody,
    MemberView,
    PreviewBody,
    PreviewView,
    ProfileSegment,
    SegmentBody,
    SegmentView,
    SizeView,
    explanation_view,
    preview_view,
    segment_view,
)
from cdp_segmenter.catalogue import Draft, NameTaken
from cdp_segmenter.desk import Desk, NoSuchProfile, NoSuchSegment, NotManual, StillReferred
from cdp_segmenter.rules.check import InvalidRule

T = TypeVar("T")
Reader = Annotated[Principal, Depends(require("segments:read"))]
Writer = Annotated[Principal, Depends(require("segments:write"))]
SegmentId = Annotated[str, Path(examples=["segment-5f0c1b2a9d8e4f7a"], max_length=100)]
ProfileRef = Annotated[str, Path(examples=["email:ada@example.com"], max_length=500)]
Limit = Annotated[int, Query(ge=1, le=1000, description="rows of a page")]
# a name of 200 characters of four bytes each is a cursor of 1,067
Cursor = Annotated[str | None, Query(description="nextCursor of the page before", max_length=1100)]
Offset = Annotated[int, Query(ge=0, le=100_000, description="rows to skip, for small lists")]
Include = Annotated[str | None, Query(pattern="^profile$", description="profile: with each member's profile")]


class SegmentsApi:
    """Each method is one route; all of them answer in the envelope and raise ApiError."""

    def __init__(self, desk: Desk) -> None:
        self._desk = desk

    def router(self) -> APIRouter:
        """Routes under ``/segments`` and ``/profiles/{ref}/segments``."""
        routes = APIRouter(tags=["segments"], responses=ERRORS)
        for method, path, endpoint, status, summary in (
            ("POST", "/segments", self.create, 201, "Create a segment; every profile is looked at right away"),
            ("GET", "/segments", self.listed, 200, "List segments by name"),
            ("POST", "/segments/preview", self.preview, 200, "Who would be a member now; nothing is stored"),
            ("GET", "/segments/{segment_id}", self.get, 200, "One segment with its size and progress"),
            ("PUT", "/segments/{segment_id}", self.update, 200, "Change a segment; other rules are a new version"),
            ("DELETE", "/segments/{segment_id}", self.delete, 200, "Delete a segment; everyone exits"),
            ("GET", "/segments/{segment_id}/members", self.members, 200, "Members, in the order of their ids"),
            ("POST", "/segments/{segment_id}/members", self.enter, 200, "Add profiles to a manual segment"),
            ("DELETE", "/segments/{segment_id}/members/{profile}", self.leave, 200, "Take one out of a manual segment"),
            ("GET", "/segments/{segment_id}/members/{profile}/explain", self.explain, 200, "Why, or why not"),
            ("GET", "/segments/{segment_id}/size", self.size, 200, "How many members there are now"),
            ("POST", "/segments/{segment_id}/evaluate", self.evaluate, 202, "Look at every profile again"),
            ("GET", "/profiles/{ref}/segments", self.of_profile, 200, "The segments that a profile is in"),
        ):
            routes.add_api_route(path, endpoint, methods=[method], status_code=status, summary=summary)
        return routes

    async def create(self, body: SegmentBody, who: Writer) -> Answer[SegmentView]:
        segment_id = f"segment-{uuid4().hex[:16]}"
        segment = await _answered(self._desk.create(who.workspace_id, segment_id, _draft(body)))
        return Answer(data=segment_view(segment))

    async def listed(
        self, who: Reader, limit: Limit = 100, cursor: Cursor = None, offset: Offset = 0
    ) -> Answer[Listed[SegmentView]]:
        after = _decoded(cursor)
        page = self._desk.catalogue.listed(who.workspace_id, limit + 1, after, offset)
        found, total = await _answered(page)
        segments = found[:limit]
        last = _encoded(segments[-1].draft.name) if len(found) > limit else None
        return Answer(data=Listed(items=[segment_view(one) for one in segments], total=total, next_cursor=last))

    async def get(self, segment_id: SegmentId, who: Reader) -> Answer[SegmentView]:
        return Answer(data=segment_view(await _answered(self._desk.get(who.workspace_id, segment_id))))

    async def update(self, segment_id: SegmentId, body: SegmentBody, who: Writer) -> Answer[SegmentView]:
        segment = await _answered(self._desk.update(who.workspace_id, segment_id, _draft(body)))
        return Answer(data=segment_view(segment))

    async def delete(self, segment_id: SegmentId, who: Writer) -> Answer[Deleted]:
        await _answered(self._desk.delete(who.workspace_id, segment_id))
        return Answer(data=Deleted(id=segment_id))

    async def preview(self, body: PreviewBody, who: Reader) -> Answer[PreviewView]:
        preview = self._desk.preview(who.workspace_id, body.type, body.rules, body.sample)
        return Answer(data=preview_view(await _answered(preview)))

    async def size(self, segment_id: SegmentId, who: Reader) -> Answer[SizeView]:
        segment = segment_view(await _answered(self._desk.get(who.workspace_id, segment_id)))
        return Answer(data=SizeView(id=segment.id, size=segment.size, status=segment.status, progress=segment.progress))

    async def evaluate(self, segment_id: SegmentId, who: Writer) -> Answer[SegmentView]:
        return Answer(data=segment_view(await _answered(self._desk.evaluate(who.workspace_id, segment_id))))

    async def members(
        self,
        segment_id: SegmentId,
        who: Reader,
        request: Request,
        limit: Limit = 100,
        cursor: Cursor = None,
        offset: Offset = 0,
        include: Include = None,
    ) -> Answer[Listed[MemberView]]:
        segment = await _answered(self._desk.get(who.workspace_id, segment_id))
        after = _uuid(_decoded(cursor))
        # one more than asked for tells whether there is a next page
        found = await _answered(self._desk.catalogue.members(who.workspace_id, segment_id, limit + 1, after, offset))
        rows = found[:limit]
        shown = await _profiles(request, who, [row.profile_id for row in rows]) if include else {}
        items = [
            MemberView(id=profile_ref(row.profile_id), entered_at=row.since, profile=shown.get(row.profile_id))
            for row in rows
        ]
        last = _encoded(rows[-1].profile_id.hex) if len(found) > limit else None
        return Answer(data=Listed(items=items, total=segment.size, next_cursor=last))

    async def enter(self, segment_id: SegmentId, body: MembersBody, who: Writer, request: Request) -> Answer[SizeView]:
        resolve = partial(_all_resolved, request, who, body.profile_ids)
        await _answered(self._desk.change_members(who.workspace_id, segment_id, resolve, inside=True))
        return await self.size(segment_id, who)

    async def leave(
        self, segment_id: SegmentId, profile: ProfileRef, who: Writer, request: Request
    ) -> Answer[SizeView]:
        async def resolve() -> Sequence[UUID]:
            return [await _resolved(request, who, profile)]

        await _answered(self._desk.change_members(who.workspace_id, segment_id, resolve, inside=False))
        return await self.size(segment_id, who)

    async def explain(
        self, segment_id: SegmentId, profile: ProfileRef, who: Reader, request: Request
    ) -> Answer[ExplainView]:
        profile_id = await _resolved(request, who, profile)
        is_member, why = await _answered(self._desk.explain(who.workspace_id, segment_id, profile_id))
        return Answer(
            data=ExplainView(
                segment_id=segment_id,
                profile_id=profile_ref(profile_id),
                member=is_member,
                holds=why.holds,
                because=explanation_view(why, sees_pii="profiles:pii" in who.scopes),
            )
        )

    async def of_profile(self, ref: ProfileRef, who: Reader, request: Request) -> Answer[list[ProfileSegment]]:
        profile_id = await _resolved(request, who, ref)
        found = await _answered(self._desk.catalogue.memberships(who.workspace_id, profile_id))
        return Answer(data=[ProfileSegment(id=one, name=name, entered_at=since) for one, name, since in found])


async def _answered(work: Awaitable[T]) -> T:
    """The result, or the ApiError that says what the caller can do."""
    try:
        return await work
    except InvalidRule as error:
        details = [Detail(path=fault.path, message=fault.message) for fault in error.faults]
        summary = "; ".join(f"{fault.path}: {fault.message}" for fault in error.faults[:3])
        raise ApiError(422, "invalid", f"The segment is invalid. {summary}", details) from error
    except NoSuchSegment as error:
        raise not_found("segment", str(error)) from error
    except NoSuchProfile as error:
        raise not_found("profile", profile_ref(error.args[0])) from error
    except NameTaken as error:
        detail = Detail(path="name", message="another segment has this name")
        raise ApiError(409, "name_taken", f"There is a segment {str(error)!r} already.", [detail]) from error
    except StillReferred as error:
        users = ", ".join(error.args)
        raise ApiError(
            409, "still_referred", f"Other segments refer to this one: {users}. Change them first."
        ) from error
    except NotManual as error:
        message = "Members of this segment come and go by its rules; only a manual segment takes members by hand."
        raise ApiError(409, "not_manual", message) from error
    except StoreUnavailable as error:
        raise unavailable("clickhouse", f"ClickHouse does not answer: {error}") from error
    except Exception as error:
        if retryable(error):
            raise unavailable("postgres", f"Postgres does not answer: {error}") from error
        raise


async def _resolved(request: Request, who: Principal, ref: str) -> UUID:
    """The profile of ``profile-…`` or ``kind:value``. Raises ApiError 404."""
    found = await _looked_up(request, who, [ref])
    if ref not in found:
        raise not_found("profile", ref)
    return found[ref]


async def _all_resolved(request: Request, who: Principal, refs: Sequence[str]) -> list[UUID]:
    """Those of a body's ``profileIds``. Raises ApiError 422 with the path of each that is nobody."""
    found = await _looked_up(request, who, refs)
    details = [
        Detail(path=f"profileIds[{index}]", message=f"there is no profile {ref!r} in this workspace")
        for index, ref in enumerate(refs)
        if ref not in found
    ]
    if details:
        summary = "; ".join(f"{detail.path}: {detail.message}" for detail in details[:3])
        raise ApiError(422, "invalid", f"The request is invalid. {summary}", details)
    return [found[ref] for ref in refs]


async def _looked_up(request: Request, who: Principal, refs: Sequence[str]) -> dict[str, UUID]:
    """Those of the references that name a profile, all of them in one look."""
    resolve = getattr(request.app.state, "facets", {}).get("resolve")
    found = await resolve(who.workspace_id, refs) if resolve else {ref: parse_profile_ref(ref) for ref in refs}
    return {ref: one for ref, one in found.items() if isinstance(one, UUID)}


async def _profiles(request: Request, who: Principal, profiles: Sequence[UUID]) -> dict[UUID, Any]:
    """The facet's profiles are not masked, hence the scopes. Raises ApiError 403."""
    for scope in ("profiles:read", "profiles:pii"):
        if scope not in who.scopes:
            raise ApiError(403, "forbidden", f"This API token lacks the scope {scope}.")
    facet = getattr(request.app.state, "facets", {}).get("profiles")
    return dict(await facet(who.workspace_id, profiles)) if facet else {}


def _draft(body: SegmentBody) -> Draft:
    return Draft(body.name, body.description, body.type, body.rules)


def _encoded(place: str) -> str:
    return base64.urlsafe_b64encode(place.encode()).decode().rstrip("=")


def _decoded(cursor: str | None) -> str | None:
    if cursor is None:
        return None
    try:
        place = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode()
    except (binascii.Error, ValueError):
        raise _bad_cursor() from None
    if "\0" in place:  # no name holds it, and Postgres takes no text with it
        raise _bad_cursor()
    return place


def _uuid(place: str | None) -> UUID | None:
    try:
        return None if place is None else UUID(place)
    except ValueError:
        raise _bad_cursor() from None


def _bad_cursor() -> ApiError:
    detail = Detail(path="cursor", message="this is no cursor of this list")
    return ApiError(422, "invalid", "The request is invalid. cursor: this is no cursor of this list", [detail])
