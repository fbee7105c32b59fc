"""Profile messages -> the little that the projection keeps of them. Pure."""

from dataclasses import dataclass
from uuid import UUID

from cdp_activation.profile import fingerprint, profile_of
from cdp_schemas.profiles import ProfileUpdated


@dataclass(frozen=True, slots=True)
class ProfileFact:
    """One version of a profile. ``refused``: some purpose is not granted, so older versions must not be sent."""

    workspace_id: str
    profile_id: UUID
    version: int
    fingerprint: bytes
    deleted: bool
    merged: bool
    refused: bool


def fact_of(message: ProfileUpdated) -> ProfileFact:
    """What the projection keeps of a golden record."""
    profile = profile_of(message.profile_id, message.version, message.identifiers, message.traits, message.consent)
    return ProfileFact(
        message.workspace_id,
        message.profile_id,
        message.version,
        fingerprint(profile),
        message.deleted,
        message.merged_into is not None,
        not all(message.consent.values()),
    )
