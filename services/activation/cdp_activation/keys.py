"""Identifiers and matching values -> small keyed numbers that can be compared but not read. Pure."""

from collections.abc import Iterable
from hashlib import blake2b

from cdp_activation.destinations import hashing
from cdp_activation.profile import Profile
from cdp_schemas.nodes import node_id


class Keyring:
    """Keys depend on the installation's secret: who reads the database cannot test guesses against them."""

    def __init__(self, secret: str, phone_region: str) -> None:
        self._secret = blake2b(secret.encode(), digest_size=32, person=b"mr-activation").digest()
        self._region = phone_region

    def key(self, text: str) -> int:
        """A signed 64-bit number."""
        digest = blake2b(text.encode(), digest_size=8, key=self._secret).digest()
        return int.from_bytes(digest, "big", signed=True)

    def identifier(self, kind: str, value: str) -> int:
        """The key of an identifier in its normal form, so that a suppressed address matches however it is written."""
        return self.key(f"{kind}\x1f{self._normal(kind, value)}")

    def of_profile(self, profile: Profile) -> list[int]:
        """The keys of everything that a profile can be suppressed by."""
        found = {self.identifier("profile_id", str(profile.profile_id))}
        for kind, values in profile.identifiers.items():
            found.update(self.identifier(kind, value) for value in values)
        found.update(
            self.identifier(kind, profile.traits[kind]) for kind in ("email", "phone") if kind in profile.traits
        )
        return sorted(found)

    def of_earlier_ids(self, workspace_id: str, profile: Profile) -> list[int]:
        """The keys of ids that a profile may have had: before it was known by more, it was named after one of these."""
        return [
            self.identifier("profile_id", str(node_id(workspace_id, kind, value)))
            for kind, values in profile.identifiers.items()
            for value in values
        ]

    def of_values(self, values: Iterable[str]) -> list[int]:
        """The keys of the values by which a destination recognises a person."""
        return sorted({self.key(f"value\x1f{value}") for value in values})

    def _normal(self, kind: str, value: str) -> str:
        if kind == "email":
            return hashing.email(value) or value.strip().lower()
        if kind == "phone":
            return hashing.phone_e164(value, self._region) or value.strip()
        return value.strip()
