"""Forms that were sent <-> sealed bytes: they are personal data, kept only to be able to take them back."""

from collections.abc import Sequence
from uuid import UUID

from cdp_activation.destinations.destination import Cells
from cdp_activation.ledger import ConnectionKey
from cdp_runtime.secrets import SecretBox


class FormSeal:
    """Bound to the row: sealed bytes copied to another row do not open."""

    def __init__(self, box: SecretBox) -> None:
        self._box = box

    def close(self, key: ConnectionKey, profile_id: UUID, forms: Sequence[Cells]) -> bytes:
        return self._box.seal({"forms": [dict(form) for form in forms]}, _context(key, profile_id))

    def open(self, key: ConnectionKey, profile_id: UUID, sealed: bytes | None) -> list[Cells]:
        """Raises CannotOpen when CDP_SECRET_KEY is not the one it was sealed under."""
        if sealed is None:
            return []
        forms: list[Cells] = self._box.open(bytes(sealed), _context(key, profile_id))["forms"]
        return forms


def _context(key: ConnectionKey, profile_id: UUID) -> str:
    return f"{'|'.join(key)}|{profile_id}"
