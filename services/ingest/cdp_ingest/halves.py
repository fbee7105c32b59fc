"""JSON with halves of surrogate pairs, which no parser takes -> JSON that can be cut, and its pieces as they came.

``JSON.stringify`` and ``json.dumps`` write an emoji that was cut in two as half a pair, ``"\\ud83d"``.
"""

import re
from hashlib import blake2b
from typing import Final

# a backslash begins an escape wherever it stands, so each is read with what belongs to it
_ESCAPE: Final = re.compile(
    rb"\\(?:u[dD][89abAB][0-9a-fA-F]{2}\\u[dD][c-fC-F][0-9a-fA-F]{2}|u([dD][89a-fA-F][0-9a-fA-F]{2})|.)", re.DOTALL
)


def has_halves(data: bytes) -> bool:
    """Whether an escape of a surrogate stands there without its other half."""
    return any(escape[1] for escape in _ESCAPE.finditer(data))


class Hidden:
    """``body`` with a mark instead of each half."""

    def __init__(self, body: bytes) -> None:
        mark = blake2b(body, digest_size=8).hexdigest().encode()  # no body holds its own
        self._marked = re.compile(mark + rb"(....)")
        self.body = _ESCAPE.sub(lambda escape: mark + escape[1] if escape[1] else escape[0], body)

    def restored(self, piece: bytes) -> bytes:
        """A piece of ``body`` with the halves that were there."""
        return self._marked.sub(rb"\\u\1", piece)
