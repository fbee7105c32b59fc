"""A batch body that is no JSON as a whole -> the pieces of its array, cut by brackets, so that sound events survive."""

import re
from typing import Final, NamedTuple

import msgspec

_BATCH: Final = re.compile(rb'"batch"\s*:\s*\[')
_WRITE_KEY: Final = re.compile(rb'"writeKey"\s*:\s*("[^"\\]{1,200}")')
_SENT_AT: Final = re.compile(rb'"sentAt"\s*:\s*("[^"\\]{1,64}")')
# a string that does not end is one too: else each quote that is escaped in it would begin another to its end
_TOKEN: Final = re.compile(rb'"(?:[^"\\]|\\.)*+"?|[{}\[\]]', re.DOTALL)
_GAP: Final = re.compile(rb"[\s,]*")
# where a neighbour most likely begins, when brackets or quotes do not match: an object that opens with a call's field
_NEIGHBOUR: Final = re.compile(
    rb'[^\s,]\s*,\s*(?=\{\s*"(?:type|messageId|anonymousId|userId|event|timestamp|originalTimestamp|sentAt|context'
    rb'|integrations|channel|properties|traits|writeKey|_metadata)"\s*:)'
)
_WIDEST: Final = 128 * 1024  # no event may be that long, so its end is not looked for beyond
_MOST_WORK: Final = 20 * _WIDEST  # bytes read for broken pieces; then the rest stays one, whatever the body is
_raw: Final = msgspec.json.Decoder(msgspec.Raw)


class Salvage(NamedTuple):
    """The pieces of the batch, sound or not, in their order; write key and sentAt beside it as JSON, or empty."""

    pieces: list[bytes]
    write_key: bytes
    sent_at: bytes


def salvage(body: bytes) -> Salvage:
    """Never raises. No byte of the array is left out but the commas between its elements."""
    start = _BATCH.search(body)
    if start is None:
        return Salvage([], b"", b"")
    pieces, end = _pieces(body, start.end())
    beside = body[: start.start()] + body[end:]
    return Salvage(pieces, _first(_WRITE_KEY, beside), _first(_SENT_AT, beside))


def _first(pattern: re.Pattern[bytes], data: bytes) -> bytes:
    found = pattern.search(data)
    return found.group(1) if found else b""


def _pieces(body: bytes, position: int) -> tuple[list[bytes], int]:
    pieces: list[bytes] = []
    work = 0
    while True:
        gap = _GAP.match(body, position)
        position = gap.end() if gap else position
        mark = body[position : position + 1]
        if mark == b"" or (mark == b"]" and _NEIGHBOUR.match(body, position) is None):
            return pieces, position
        end, cost = _element(body, position) if work < _MOST_WORK else (len(body), 0)
        work += cost
        pieces.append(body[position:end].rstrip(b", \r\n\t"))
        position = end


def _element(body: bytes, start: int) -> tuple[int, int]:
    """Where the element from ``start`` ends, and what it cost to find out that it is no JSON (0 when it is).

    If it is none, it is cut before its likely neighbour.
    """
    end = _balanced_end(body, start)
    if end is not None and _is_json(body[start:end]):
        return end, 0
    within = len(body) if end is None else end
    neighbour = _NEIGHBOUR.search(body, start, within)
    return (within if neighbour is None else neighbour.end()), min(within - start, _WIDEST)


def _balanced_end(body: bytes, start: int) -> int | None:
    """After the bracket that closes the first one from ``start`` on; None when none does.

    The kind of bracket does not count: whether the piece is sound is for the parser to say.
    """
    depth = 0
    for token in _TOKEN.finditer(body, start, start + _WIDEST):
        mark = body[token.start()]
        if mark == 0x22:
            continue
        depth += 1 if mark in b"{[" else -1
        if depth <= 0:
            return token.end() if depth == 0 else None
    return None


def _is_json(piece: bytes) -> bool:
    try:
        _raw.decode(piece)
    except (msgspec.MsgspecError, UnicodeDecodeError, RecursionError):
        return False
    return True
