"""A compressed body -> its bytes, never more of them than a call may have."""

import zlib
from typing import Final

from cdp_ingest.refusals import BODY_ENCODING, BODY_TOO_LARGE, CallRefused

_GZIP_MAGIC: Final = b"\x1f\x8b"
_GZIP_OR_ZLIB: Final = 47
_RAW_DEFLATE: Final = -15
_MOST_MEMBERS: Final = 100  # each costs a copy of all that follows it


def inflate(body: bytes, encoding: bytes, limit: int) -> bytes:
    """The plain body, at most ``limit`` bytes. Raises CallRefused.

    Bytes that begin like gzip are taken for gzip whatever the header says: some proxies drop it, and JSON never does.
    """
    if body.startswith(_GZIP_MAGIC):
        return _inflated(body, _GZIP_OR_ZLIB, limit)
    match encoding.strip().lower():
        case b"" | b"identity" | b"gzip" | b"x-gzip" if body.lstrip()[:1] in (b"{", b"[", b""):
            return body  # some clients announce gzip and send plain JSON
        case b"deflate":
            return _deflated(body, limit)
        case b"" | b"identity":
            return body
        case b"gzip" | b"x-gzip":
            raise CallRefused(BODY_ENCODING, "It says gzip and does not begin like it.")
        case _:
            raise CallRefused(BODY_ENCODING, "Send it plain, gzip or deflate.")


def _deflated(body: bytes, limit: int) -> bytes:
    """deflate is zlib by the standard and raw deflate by habit: both are taken."""
    try:
        return _inflated(body, _GZIP_OR_ZLIB, limit)
    except CallRefused as error:
        if error.refusal is BODY_TOO_LARGE:
            raise
        return _inflated(body, _RAW_DEFLATE, limit)


def _inflated(body: bytes, window: int, limit: int) -> bytes:
    """Inflates member after member, asking zlib for no more than what is still allowed."""
    parts: list[bytes] = []
    size = 0
    while body:
        if len(parts) == _MOST_MEMBERS:
            raise CallRefused(BODY_ENCODING, f"It is compressed in more than {_MOST_MEMBERS} parts.")
        stream = zlib.decompressobj(window)
        try:
            part = stream.decompress(body, limit - size + 1)
        except zlib.error as error:
            raise CallRefused(BODY_ENCODING, f"It cannot be inflated: {error}.") from error
        size += len(part)
        if size > limit:
            raise CallRefused(BODY_TOO_LARGE, f"Inflated it has more than {limit} bytes.")
        if not stream.eof:
            raise CallRefused(BODY_ENCODING, "It ends before its compressed data does.")
        parts.append(part)
        body = stream.unused_data.lstrip(b"\0")
    return parts[0] if len(parts) == 1 else b"".join(parts)
