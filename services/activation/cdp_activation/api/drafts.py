"""Bodies of audiences and destinations -> checked drafts, or every fault with its path."""

from collections.abc import Mapping, Sequence
from typing import Any

from cdp_activation.api.models import AudienceDraftBody, ConnectionDraft
from cdp_activation.api.paging import invalid
from cdp_activation.catalog import AudienceDraft, Destination, DestinationStore, Link
from cdp_activation.destinations.registry import DESTINATIONS, PLATFORMS, checked, destination_type, settings_of
from cdp_activation.ssrf import ForbiddenTarget, TargetPolicy, check_url
from cdp_runtime.envelope import Detail


class AudienceDrafts:
    """Finds the destinations that an audience names and checks its settings for each."""

    def __init__(self, destinations: DestinationStore) -> None:
        self._destinations = destinations

    async def checked(self, workspace_id: str, body: AudienceDraftBody) -> AudienceDraft:
        """Raises ApiError 422 with all faults."""
        faults = _repeated("segmentIds", body.segment_ids) + _strange_config(body)
        links: list[Link] = []
        for number, platform in enumerate(body.platforms):
            links += await self._of_platform(workspace_id, number, platform, body, faults)
        for number, connection in enumerate(body.connections):
            links += await self._of_connection(workspace_id, number, connection, faults)
        faults += _repeated("connections", [link.destination_id for link in links])
        if faults:
            raise invalid(faults)
        config = {name: dict(values) for name, values in body.config.items()}
        segments, platforms = list(body.segment_ids), list(body.platforms)
        return AudienceDraft(body.name, body.description, segments, platforms, config, links)

    async def _of_platform(
        self, workspace_id: str, number: int, platform: str, body: AudienceDraftBody, faults: list[Detail]
    ) -> list[Link]:
        path = f"platforms[{number}]"
        type_name = destination_type(platform)
        if type_name is None:
            faults.append(
                _fault(path, f"{platform!r} is not a platform here; there are {', '.join(sorted(PLATFORMS))}")
            )
            return []
        found = [one for one in await self._destinations.of_type(workspace_id, type_name) if one.enabled]
        if not found:
            faults.append(
                _fault(path, f"there is no destination of type {type_name}: create one with POST /destinations")
            )
            return []
        if len(found) > 1:
            names = ", ".join(one.destination_id for one in found)
            faults.append(_fault(path, f"several destinations are of this type, name one in connections: {names}"))
            return []
        settings = _audience_settings(type_name, body.config.get(platform, {}), f"config.{platform}", faults)
        return [Link(found[0].destination_id, settings, platform)]

    async def _of_connection(
        self, workspace_id: str, number: int, draft: ConnectionDraft, faults: list[Detail]
    ) -> list[Link]:
        path = f"connections[{number}]"
        found = await self._destinations.get(workspace_id, draft.destination_id)
        if found is None:
            faults.append(_fault(f"{path}.destinationId", f"there is no destination {draft.destination_id!r}"))
            return []
        settings = _audience_settings(found.type, draft.settings, f"{path}.settings", faults)
        return [Link(found.destination_id, settings, DESTINATIONS[found.type].entry.platform)]


def destination_settings(type_name: str, settings: Mapping[str, Any], policy: TargetPolicy) -> dict[str, Any]:
    """Checked settings with their defaults; addresses are checked here and again at every call. Raises ApiError 422."""
    fields = settings_of(type_name)
    values, found = checked(fields, settings)
    faults = [_fault(f"settings.{fault.path}", fault.message) for fault in found]
    for field in fields:
        if field.type == "url" and field.name in values:
            try:
                check_url(str(values[field.name]), policy)
            except ForbiddenTarget as fault:
                faults.append(_fault(f"settings.{field.name}", str(fault)))
    if faults:
        raise invalid(faults)
    return values


def destination_credentials(type_name: str, credentials: Mapping[str, Any]) -> dict[str, Any]:
    """Raises ApiError 422; a fault never repeats what was entered."""
    values, found = checked(DESTINATIONS[type_name].entry.credentials, credentials)
    if found:
        raise invalid([_fault(f"credentials.{fault.path}", fault.message) for fault in found])
    return values


def addresses_stay(destination: Destination, settings: Mapping[str, Any]) -> None:
    """Kept credentials go nowhere but where they were entered for. Raises ApiError 422."""
    moved = [
        field.name
        for field in settings_of(destination.type)
        if field.type == "url" and settings.get(field.name) != destination.settings.get(field.name)
    ]
    if moved:
        raise invalid([_fault("credentials", f"must be entered again with another {', '.join(moved)}")])


def known_type(type_name: str) -> str:
    """The catalog's type for a type or a platform. Raises ApiError 422."""
    found = destination_type(type_name)
    if found is None:
        raise invalid(
            [_fault("type", f"{type_name!r} is not in the catalog; there are {', '.join(sorted(DESTINATIONS))}")]
        )
    return found


def changed(destination: Destination, **values: Any) -> Destination:
    """The destination with other values where they are given."""
    known = {name: value for name, value in values.items() if value is not None}
    return Destination(**{**{f: getattr(destination, f) for f in destination.__slots__}, **known})


def _audience_settings(type_name: str, given: Mapping[str, Any], path: str, faults: list[Detail]) -> dict[str, Any]:
    values, found = checked(DESTINATIONS[type_name].entry.audience, given)
    faults += [_fault(f"{path}.{fault.path}", fault.message) for fault in found]
    return values


def _strange_config(body: AudienceDraftBody) -> list[Detail]:
    return [_fault(f"config.{name}", "is not among platforms") for name in body.config if name not in body.platforms]


def _repeated(path: str, values: Sequence[str]) -> list[Detail]:
    seen: set[str] = set()
    faults = []
    for number, value in enumerate(values):
        if value in seen:
            faults.append(_fault(f"{path}[{number}]", f"{value!r} is named twice"))
        seen.add(value)
    return faults


def _fault(path: str, message: str) -> Detail:
    return Detail(path=path, message=message)
