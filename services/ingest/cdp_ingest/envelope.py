"""Raw JSON objects -> raw JSON objects with something put under or beside what is there, without reading the rest."""

from collections.abc import Mapping
from typing import Final

import msgspec
from msgspec import Raw

from cdp_schemas.codec import encode

EMPTY: Final = b"{}"
_fields: Final = msgspec.json.Decoder(dict[str, Raw])


def is_object(raw: bytes) -> bool:
    """Whether raw JSON (without blanks around it) is an object."""
    return raw[:1] == b"{"


def is_empty(raw: bytes) -> bool:
    """Whether an object has no field; there may be blanks in it."""
    return raw == EMPTY or raw[1:-1].isspace()


def merged_under(lower: bytes, upper: bytes) -> bytes:
    """The fields of both objects; where both have one, the upper's stands."""
    if lower == EMPTY:
        return upper
    if upper == EMPTY:
        return lower
    return encode({**_fields.decode(lower), **_fields.decode(upper)})


def with_absent(raw: bytes, additions: Mapping[str, str]) -> bytes:
    """The object with those fields of ``additions`` that it does not have (or has as null), put first."""
    missing = {name: text for name, text in additions.items() if not _has(raw, name)}
    if not missing:
        return raw
    head = encode(missing)
    if is_empty(raw):
        return head
    if any(f'"{name}"'.encode() in raw for name in missing):
        return merged_under(head, _without_nulls(raw))
    return head[:-1] + b"," + raw[1:].lstrip()


def field(raw: bytes, name: str) -> Raw | None:
    """One field of an object, raw; None when it is absent or null."""
    if f'"{name}"'.encode() not in raw and b"\\u" not in raw:
        return None
    value = _fields.decode(raw).get(name)
    return None if value is None or bytes(value) == b"null" else value


def _has(raw: bytes, name: str) -> bool:
    return field(raw, name) is not None


def _without_nulls(raw: bytes) -> bytes:
    return encode({name: value for name, value in _fields.decode(raw).items() if bytes(value) != b"null"})
