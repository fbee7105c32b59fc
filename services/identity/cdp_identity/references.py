"""``profile-…`` and ``kind:value`` as the API takes them -> nodes; bodies' identifiers -> the same, checked."""

from collections.abc import Iterable, Mapping
from typing import Any, Final
from uuid import UUID

from cdp_identity.identifiers import EMAIL, PHONE, USER_ID, Identifier, Spelling, canonical_kind, identifier
from cdp_identity.shapes import ProfileBody
from cdp_runtime.envelope import ApiError, Detail
from cdp_schemas.profiles import ProfileUpdated, parse_profile_ref, profile_ref

_PLURALS: Final = {"deviceIds": "device_id", "anonymousIds": "anonymous_id", "emails": EMAIL, "phones": PHONE}


def node_of(workspace_id: str, ref: str, spelling: Spelling) -> UUID | None:
    """The node that a reference names; None when it names none."""
    profile = parse_profile_ref(ref)
    if profile is not None:
        return profile
    kind, _, value = ref.partition(":")
    known = canonical_kind(kind)
    found = identifier(workspace_id, known, value, spelling) if known and value else None
    return found.node_id if found else None


def identifiers_of(workspace_id: str, body: ProfileBody, spelling: Spelling) -> dict[Identifier, str]:
    """The identifiers a body names, and where. Raises ApiError 422 with the path of each one that cannot be one."""
    found: dict[Identifier, str] = {}
    faults = []
    for path, kind, value in _named(body):
        one = identifier(workspace_id, kind, value, spelling) if kind else None
        if one is None:
            faults.append(Detail(path=path, message=f"{value!r} is no {kind or 'known kind of identifier'}"))
        else:
            found.setdefault(one, path)
    if faults:
        raise ApiError(422, "invalid", "Some identifiers cannot be used.", faults)
    return found


def _named(body: ProfileBody) -> Iterable[tuple[str, str | None, Any]]:
    if body.user_id is not None:
        yield "userId", USER_ID, body.user_id
    traits = body.traits()
    for name in (EMAIL, PHONE):
        if traits.get(name) is not None:
            yield (name if getattr(body, name) is not None else f"attributes.{name}"), name, traits[name]
    for name, value in body.external_ids.items():
        kind = _PLURALS.get(name) or canonical_kind(name)
        for one in value if isinstance(value, list) else [value]:
            yield f"externalIds.{name}", kind, one


def refuse_other_users(
    found: Mapping[Identifier, str], profile: ProfileUpdated | None, owners: Mapping[UUID, ProfileUpdated]
) -> None:
    """Raises ApiError 409 with the path of each identifier that cannot become the profile's: it has one user id.

    ``owners``: node -> the profile that has it already; ``profile`` is None for one that is to be made.
    """
    held = set(profile.identifiers.get(USER_ID, ())) if profile else set()
    faults = []
    for one, path in found.items():
        owner = owners.get(one.node_id)
        users = set(owner.identifiers.get(USER_ID, ())) if owner else set()
        if one.kind == USER_ID:
            users.add(one.value)
        if held and not held >= users:
            whose = f"belongs to {profile_ref(owner.profile_id)}, which has" if owner else "would be"
            faults.append(Detail(path=path, message=f"{whose} another user id: a profile has one"))
        else:
            held |= users
    if faults:
        raise ApiError(409, "conflict", "Some identifiers cannot be this profile's.", faults)


def external_entries(found: Iterable[Identifier]) -> list[dict[str, str]]:
    """Identifiers as ``context.externalIds`` carries them."""
    return [{"type": one.kind, "id": one.value, "collection": "users", "encoding": "none"} for one in found]
