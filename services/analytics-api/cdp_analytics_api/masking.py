"""Event bodies -> the same with personal values hidden, for callers without the scope ``profiles:pii``."""

import re
from collections.abc import Iterable
from typing import Any, Final

import msgspec

HIDDEN: Final = "***"
# compared without case, spaces, dashes and underscores
_PERSONAL: Final = frozenset(
    {
        *("email", "emailaddress", "phone", "phonenumber", "mobile", "firstname", "lastname", "fullname", "name"),
        *("username", "address", "street", "postalcode", "zip", "birthday", "dateofbirth", "ip", "ipaddress"),
        *("latitude", "longitude", "password", "token", "advertisingid", "idfa", "gaid"),
    }
)
_SEPARATORS: Final = re.compile(r"[\s_\-]")
# one character before the sign is enough: looking for all of them takes the square of a long word's length
_ADDRESS: Final = re.compile(r"[^@\s](?:@[^@\s]+|%40[^@\s%]+)\.[^@\s]")
_WORD: Final = re.compile(r"\S+")
_QUOTED: Final = re.compile(r"""(?<!\w)(['"])(?:\\.|(?!\1).)*(?:\1|$)""")  # to the end where a long value was cut


def masked(value: Any) -> Any:
    """The JSON value with personal fields and everything that looks like an email address hidden, at any depth.

    Also an address that is a key, and one in the parameters of a URL.
    """
    if isinstance(value, dict):
        return {
            _unaddressed(key): HIDDEN if _is_personal(key) and content else masked(content)
            for key, content in value.items()
        }
    if isinstance(value, list):
        return [masked(item) for item in value]
    return _unaddressed(value) if isinstance(value, str) else value


def masked_text(keys: Iterable[str], text: str) -> str:
    """A value that lies under these keys, as text (a list or an object as JSON): what :func:`masked` leaves of it."""
    if text and any(map(_is_personal, keys)):
        return HIDDEN
    try:
        decoded = msgspec.json.decode(text)
    except (msgspec.DecodeError, RecursionError):
        decoded = None
    return msgspec.json.encode(masked(decoded)).decode() if isinstance(decoded, dict | list) else str(masked(text))


def masked_sentence(text: str) -> str:
    """What a sentence about an event says by itself: without what it quotes, and without what a store adds below it."""
    return _WORD.sub(lambda word: _unaddressed(word[0]), _QUOTED.sub(HIDDEN, text.partition("\n")[0]))


def _unaddressed(text: str) -> str:
    return HIDDEN if _ADDRESS.search(text) else text


def _is_personal(key: str) -> bool:
    return _SEPARATORS.sub("", key).lower() in _PERSONAL
