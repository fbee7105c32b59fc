"""A call's headers and query -> the write keys it may mean, in the order in which they are tried."""

import binascii
from base64 import b64decode
from collections.abc import Mapping
from functools import lru_cache
from typing import Final
from urllib.parse import parse_qs

_LONGEST: Final = 512


def header_keys(headers: Mapping[bytes, bytes]) -> list[str]:
    """The Basic user name (with or without its colon), or the Bearer token."""
    scheme, _, value = headers.get(b"authorization", b"").partition(b" ")
    match scheme.lower():
        case b"basic":
            key = _user_name(value) if len(value) <= _LONGEST else ""
        case b"bearer":
            key = value.decode("latin-1").strip()
        case _:
            key = ""
    return [key] if key else []


def query_keys(query: bytes) -> list[str]:
    """``?writeKey=``: what a browser's beacon can send. One at most: a list of them would be guessing."""
    if b"writeKey" not in query:
        return []
    return [key for key in parse_qs(query.decode("latin-1")).get("writeKey", [])[:1] if key]


@lru_cache(maxsize=4096)
def _user_name(value: bytes) -> str:
    try:
        return b64decode(value.strip(), validate=False).decode().partition(":")[0].strip()
    except (binascii.Error, UnicodeDecodeError):
        return ""
