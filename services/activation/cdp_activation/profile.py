"""A golden record -> what destinations may know of a profile, and a fingerprint that tells when it changed."""

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final
from uuid import UUID

# trait -> where else it may be found: Segment's reserved traits keep the address in an object of its own
_TRAITS: Final = {
    "email": ("email",),
    "phone": ("phone",),
    "firstName": ("firstName", "first_name"),
    "lastName": ("lastName", "last_name"),
    "city": ("city", "address.city"),
    "state": ("state", "address.state", "region"),
    "postalCode": ("postalCode", "zip", "address.postalCode"),
    "country": ("country", "address.country"),
    "gender": ("gender",),
    "birthday": ("birthday",),
}


@dataclass(frozen=True, slots=True)
class Profile:
    """One profile at one version: its identifiers by kind, the traits above as text, its consent by purpose."""

    profile_id: UUID
    version: int
    identifiers: Mapping[str, Sequence[str]] = field(default_factory=dict)
    traits: Mapping[str, str] = field(default_factory=dict)
    consent: Mapping[str, bool] = field(default_factory=dict)

    def first(self, kind: str, normal: Callable[[str], str] = str.strip) -> str:
        """The profile's main identifier of a kind: the one that is also a trait, however it is written there, else the
        first; empty when none. ``normal`` gives the one spelling of a value."""
        values, trait = self.identifiers.get(kind, ()), self.traits.get(kind, "")
        if len(values) < 2:
            return values[0] if values else trait
        main = normal(trait)
        return next((value for value in values if main and normal(value) == main), values[0])


def profile_of(
    profile_id: UUID,
    version: int,
    identifiers: Mapping[str, Sequence[str]],
    traits: Mapping[str, Any],
    consent: Mapping[str, bool],
) -> Profile:
    """The same value from a message and from the column store, so that both give one fingerprint."""
    known = {kind: tuple(sorted(values)) for kind, values in sorted(identifiers.items()) if values}
    found = {name: text for name, places in _TRAITS.items() if (text := _first_text(traits, places))}
    return Profile(profile_id, version, known, found, dict(sorted(consent.items())))


def fingerprint(profile: Profile) -> bytes:
    """16 bytes that change when anything that a destination may be told, or may not, changes."""
    content = [profile.identifiers, profile.traits, profile.consent]
    return blake2b(json.dumps(content, sort_keys=True, default=list).encode(), digest_size=16).digest()


def _first_text(traits: Mapping[str, Any], places: Sequence[str]) -> str:
    for place in places:
        value: Any = traits
        for step in place.split("."):
            value = value.get(step) if isinstance(value, Mapping) else None
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value)
    return ""
