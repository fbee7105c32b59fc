"""Messages about profiles -> the little that the projection keeps; the rest of their fields is not even read. Pure."""

from typing import Any, Final
from uuid import UUID

import msgspec

from cdp_activation.profile import fingerprint, profile_of

_EMPTY: Final = msgspec.Raw(b"{}")
_identifiers: Final = msgspec.json.Decoder(dict[str, list[str]])
_traits: Final = msgspec.json.Decoder(dict[str, Any])


class ProfileFact(msgspec.Struct, rename="camel", frozen=True):
    """What profiles-updated says of one version of a profile; identifiers and traits stay as they came."""

    workspace_id: str
    profile_id: UUID
    version: int
    identifiers: msgspec.Raw = _EMPTY
    traits: msgspec.Raw = _EMPTY
    consent: dict[str, bool] = {}
    deleted: bool = False
    merged_into: UUID | None = None

    @property
    def merged(self) -> bool:
        return self.merged_into is not None

    @property
    def refused(self) -> bool:
        """Some purpose is not granted, so older versions must not be sent."""
        return not all(self.consent.values())

    def fingerprint(self) -> bytes:
        """As of the whole profile. It costs more than all the rest: ask only for profiles that are somewhere.

        Empty when identifiers or traits cannot be read: that counts as a change, and the column store tells which.
        """
        try:
            identifiers, traits = _identifiers.decode(self.identifiers), _traits.decode(self.traits)
        except msgspec.MsgspecError:
            return b""
        return fingerprint(profile_of(self.profile_id, self.version, identifiers, traits, self.consent))
