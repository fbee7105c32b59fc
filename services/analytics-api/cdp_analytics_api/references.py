"""A profile's id or one of its identifiers, as clients write it -> the profile's UUID."""

from uuid import UUID

from cdp_analytics_api.ports import Directory, Facets
from cdp_runtime.api import Facet
from cdp_runtime.envelope import ApiError, not_found
from cdp_schemas.profiles import parse_profile_ref


async def resolve(workspace_id: str, ref: str, facets: Facets, directory: Directory) -> UUID:
    """The profile behind ``profile-...`` or ``kind:value``; one that was merged away gives its survivor.

    Raises ApiError 404, and 503 when nobody here can look identifiers up.
    """
    facet: Facet | None = facets.get("resolve")
    if facet is not None:
        found = (await facet(workspace_id, [ref])).get(ref)
        if found is None:
            raise not_found("profile", ref)
        return UUID(str(found)) if not isinstance(found, UUID) else found
    profile_id = parse_profile_ref(ref)
    if profile_id is None:
        raise ApiError(404, "not_found", f"{ref!r} is no profile id, and identifiers cannot be looked up here.")
    return (await directory.profiles_of(workspace_id, [profile_id]))[profile_id]
