"""A request's path, query and JSON body -> refused with the place of a character that no store can keep."""

from collections.abc import Iterator, Mapping
from typing import Any, Final

from fastapi import Request
from starlette.requests import HTTPConnection

from cdp_analytics_api.door.faults import invalid

# both as \u escapes, halves of pairs also as bytes of their own that begin with ED; in UTF-16 and UTF-32, where escapes
# look otherwise, there are zeros. A body without any of these is not searched
_SIGNS: Final = (b"\\u", b"\x00", b"\xed")


async def sound_texts(connection: HTTPConnection) -> None:
    """Asked before every request to a part. Raises ApiError 422.

    Postgres keeps no U+0000, and half of a surrogate pair has no UTF-8: without this they were a bug of ours (500).
    Routes that read their bodies as bytes judge them themselves.
    """
    _require_sound(connection.path_params.items())
    _require_sound(connection.query_params.multi_items())
    if isinstance(connection, Request) and _has_model(connection) and _is_searched(await connection.body()):
        for path, text in _texts("", await _parsed(connection)):
            _require_sound([(path or "body", text)])


async def _parsed(request: Request) -> Any:
    try:
        return await request.json()
    except (ValueError, RecursionError):
        return None  # whoever reads the body tells what is wrong with it


def _is_searched(body: bytes) -> bool:
    return any(sign in body for sign in _SIGNS)


def _has_model(request: Request) -> bool:
    return getattr(request.scope.get("route"), "body_field", None) is not None


def _require_sound(texts: Any) -> None:
    for path, text in texts:
        if isinstance(text, str) and (fault := _fault(text)):
            raise invalid(path, fault)


def _fault(text: str) -> str | None:
    if "\x00" in text:
        return "must not contain the character U+0000"
    try:
        text.encode()
    except UnicodeEncodeError:
        return "must not contain half of a surrogate pair"
    return None


def _texts(path: str, value: Any) -> Iterator[tuple[str, str]]:
    """All texts inside and where they are, without recursion: the depth is the client's choice."""
    waiting = [(path, value)]
    while waiting:
        where, found = waiting.pop()
        match found:
            case str():
                yield where, found
            case Mapping():
                for key, inner in found.items():
                    yield f"{where} (a key)".strip(), key
                    waiting.append((f"{where}.{key}" if where else str(key), inner))
            case list():
                waiting.extend((f"{where}[{index}]", inner) for index, inner in enumerate(found))
