"""What is known of a person -> the numbers by which the suppression list may name them.

The list keeps no values but numbers of them, keyed with CDP_SECRET_KEY. The rule is read a second time from what it
promises: addresses count in lower case, telephone numbers as E.164, and blanks around a value do not count.
"""

import re
from collections.abc import Iterable
from hashlib import blake2b
from typing import Final, NamedTuple

_E164: Final = re.compile(r"\+[1-9][0-9]{6,14}\Z")
Said = tuple[str, str]  # kind, value


class Numbers(NamedTuple):
    """``is_whole``: whether the list can name the person by nothing else that was said."""

    known: frozenset[int]
    is_whole: bool


class Numbering:
    """The numbers of one installation."""

    def __init__(self, secret_key: str) -> None:
        self._key = blake2b(secret_key.encode(), digest_size=32, person=b"mr-activation").digest()

    def of(self, said: Iterable[Said]) -> Numbers:
        """A telephone number that is not written in full has a number that is not known here."""
        known, is_whole = set[int](), True
        for kind, value in said:
            text = value.strip()
            if kind == "phone" and _E164.match(text) is None:
                is_whole = False
            else:
                known.add(self._number(kind, text.lower() if kind == "email" else text))
        return Numbers(frozenset(known), is_whole)

    def _number(self, kind: str, text: str) -> int:
        digest = blake2b(f"{kind}\x1f{text}".encode(), digest_size=8, key=self._key).digest()
        return int.from_bytes(digest, "big", signed=True)
