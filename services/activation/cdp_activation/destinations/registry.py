"""Type or platform alias -> destination: an explicit list. Entered settings -> checked settings, or faults. Pure."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any, Final

from cdp_activation.destinations import webhook
from cdp_activation.destinations.destination import Destination, SettingField
from cdp_activation.destinations.facebook_custom_audiences import FacebookCustomAudiences
from cdp_activation.destinations.webhook import Webhook

DESTINATIONS: Final[Mapping[str, Destination]] = {
    "facebook_custom_audiences": FacebookCustomAudiences(),
    "webhook": Webhook(),
}
# the words that audiences use for a platform
PLATFORMS: Final[Mapping[str, str]] = {destination.entry.platform: name for name, destination in DESTINATIONS.items()}
# what every destination has beside its own settings
COMMON_SETTINGS: Final = (
    SettingField("consentPurposes", "Consent purposes", "list", "all of these must be granted before a member is sent"),
    SettingField(
        "consentWhenUnknown",
        "Consent not known",
        "choice",
        "whether a purpose that was never asked about counts as granted",
        default="deny",
        choices=("deny", "allow"),
    ),
    SettingField(
        "requestsPerSecond",
        "Calls per second",
        "integer",
        "1 to 100; the type's own when empty",
        minimum=1,
        maximum=100,
    ),
)


@dataclass(frozen=True, slots=True)
class SettingFault:
    """What is wrong with one setting. ``path`` is its name."""

    path: str
    message: str


def destination_type(name: str) -> str | None:
    """The catalog's type for a type or a platform's alias; None when there is none."""
    return name if name in DESTINATIONS else PLATFORMS.get(name)


def settings_of(type_name: str) -> tuple[SettingField, ...]:
    """The fields of a destination's settings, with the common ones and this type's default purposes."""
    entry = DESTINATIONS[type_name].entry
    purposes, *rest = COMMON_SETTINGS
    own = SettingField(purposes.name, purposes.label, "list", purposes.help, default=list(entry.default_purposes))
    return (*entry.settings, own, *rest)


def checked(fields: Sequence[SettingField], given: Mapping[str, Any]) -> tuple[dict[str, Any], list[SettingFault]]:
    """The values with defaults filled in, and every fault."""
    known = {field.name for field in fields}
    faults = [
        SettingFault(name, f"is not a setting here; there are {', '.join(sorted(known))}")
        for name in given
        if name not in known
    ]
    values: dict[str, Any] = {}
    for field in fields:
        value = given.get(field.name)
        if value is None or value == "":
            if field.required:
                faults.append(SettingFault(field.name, f"is needed: {field.help}"))
            elif field.default is not None:
                values[field.name] = list(field.default) if isinstance(field.default, list) else field.default
            continue
        fault = _fault(field, value)
        if fault is None:
            values[field.name] = value
        else:
            faults.append(SettingFault(field.name, fault))
    return values, faults


def _fault(field: SettingField, value: Any) -> str | None:
    match field.type:
        case "integer":
            return _integer_fault(field, value)
        case "boolean":
            return None if isinstance(value, bool) else "must be true or false"
        case "list":
            return _list_fault(field, value)
    if not isinstance(value, str):
        return "must be text"
    if len(value) > 4096 or any(ord(c) < 32 or ord(c) == 127 for c in value):
        return "must be at most 4096 printable characters"
    if field.type == "secret" and (not value.isascii() or value != value.strip()):
        return "must be letters, digits and signs of ASCII, without a blank at either end"
    if field.choices and value not in field.choices:
        return f"must be one of {', '.join(field.choices)}"
    if field.pattern and not re.fullmatch(field.pattern, value):
        return f"does not look right: {field.help}"
    if field.type == "secret" and field.pattern.startswith("whsec_"):
        return webhook.secret_fault(value)
    return None


def _integer_fault(field: SettingField, value: Any) -> str | None:
    if not isinstance(value, int) or isinstance(value, bool):
        return "must be a whole number"
    low = field.minimum if field.minimum is not None else value
    high = field.maximum if field.maximum is not None else value
    return None if low <= value <= high else f"must be {field.help}"


def _list_fault(field: SettingField, value: Any) -> str | None:
    if not isinstance(value, list) or not all(isinstance(item, str) and item for item in value):
        return "must be a list of texts"
    strange = [item for item in value if field.choices and item not in field.choices]
    return f"{', '.join(strange)} is not among {', '.join(field.choices)}" if strange else None
