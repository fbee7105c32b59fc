"""JSON bytes -> what in them would hurt a store or a reader further on: NUL, surrogates, numbers, depth."""

import re
from typing import Final

import msgspec

from cdp_ingest.halves import has_halves
from cdp_ingest.refusals import (
    EVENT_MALFORMED,
    INVALID_UTF8,
    LONE_SURROGATE,
    NUL_CHARACTER,
    NUMBER_OUT_OF_RANGE,
    TOO_DEEP,
    Fault,
)

MAX_DEPTH: Final = 32
_MAX_NUMBER_LENGTH: Final = 64
_MAX_EXPONENT: Final = 300

_ESCAPES: Final = re.compile(rb"\\u(?:0000|[dD][89a-fA-F])")
_NUL: Final = re.compile(rb"(?<!\\)(?:\\\\)*\\u0000")
_STRING: Final = re.compile(rb'"(?:[^"\\]|\\.)*"', re.DOTALL)
_NUMBER: Final = re.compile(rb"-?[0-9][0-9.eE+-]*")
_NOT_BRACKETS: Final = bytes(set(range(256)) - set(b"[]{}"))

# Every digit or sign becomes 0, an exponent's letter e, and whatever may stand before or after a number a colon: then
# two searches for plain bytes find the numbers that need a closer look, twenty times faster than a pattern over the
# bytes themselves. The long digits of ids stand behind a quote or a letter, so they are none of them.
_CLASSES: Final = bytes.maketrans(b"123456789+-.E,[]} \n\r\t", b"000000000000e::::::::")
_EXPONENT: Final = b"0e0"
_LONG: Final = b":" + b"0" * 19

_anything: Final = msgspec.json.Decoder()


def is_suspicious(data: bytes) -> bool:
    """True when :func:`hidden_fault` must look at each event of ``data``. Never False for what it would refuse.

    Depth is not covered, since it cannot be told for a whole batch at once: see :func:`may_be_deep`.
    """
    if not data.isascii():
        try:
            data.decode()
        except UnicodeDecodeError:
            return True
    if b"\\" in data and _ESCAPES.search(data):  # one byte is looked for at the speed of memory, two are not
        return True
    numbers = data.translate(_CLASSES)
    if _LONG in numbers:
        return True
    if _EXPONENT not in numbers:
        return False
    # an exponent ends where its number does; in an id of hexadecimal digits a quote or a letter follows
    return any(after.lstrip(b"0")[:1] == b":" for after in numbers.split(_EXPONENT)[1:])


def may_be_deep(event: bytes) -> bool:
    """True when the event has so many brackets that it may be nested deeper than MAX_DEPTH."""
    return event.count(b"{") + event.count(b"[") > MAX_DEPTH


def hidden_fault(event: bytes) -> Fault | None:
    """The exact judgement of one event's bytes; None when every reader can take them."""
    if _NUL.search(event):
        return Fault(NUL_CHARACTER)
    if fault := _unreadable(event):
        return fault
    plain = _STRING.sub(b"", event)
    if _is_too_deep(plain):
        return Fault(TOO_DEEP, detail=f"At most {MAX_DEPTH} levels are taken.")
    odd = next((number for number in _NUMBER.findall(plain) if not _is_sound(number)), None)
    return None if odd is None else Fault(NUMBER_OUT_OF_RANGE, detail=f"It is {odd[:40].decode()}.")


def _unreadable(event: bytes) -> Fault | None:
    """What a full reading of the event, every value of it, stumbles over."""
    try:
        event.decode()
        _anything.decode(event)
    except UnicodeDecodeError as error:
        return Fault(INVALID_UTF8, detail=f"Byte {error.start} is {event[error.start]:#04x}.")
    except RecursionError:
        return Fault(TOO_DEEP, detail=f"At most {MAX_DEPTH} levels are taken.")
    except msgspec.ValidationError as error:
        return Fault(NUMBER_OUT_OF_RANGE, detail=f"{error}.")
    except (msgspec.MsgspecError, ValueError) as error:
        return Fault(LONE_SURROGATE) if has_halves(event) else Fault(EVENT_MALFORMED, detail=f"{error}.")
    return None


def _is_too_deep(plain: bytes) -> bool:
    """Whether JSON without its strings nests deeper than MAX_DEPTH: the innermost pairs are peeled off in turn."""
    brackets = plain.translate(None, delete=_NOT_BRACKETS).replace(b"[", b"{").replace(b"]", b"}")
    for _ in range(MAX_DEPTH):
        brackets = brackets.replace(b"{}", b"")
        if not brackets:
            return False
    return True


def _is_sound(number: bytes) -> bool:
    """Whether a JSON number fits a 64-bit integer or a finite double, and is not endlessly written out."""
    if len(number) > _MAX_NUMBER_LENGTH:
        return False
    mantissa, marker, exponent = number.lower().partition(b"e")
    if marker:
        return exponent.lstrip(b"+-").isdigit() and abs(int(exponent)) <= _MAX_EXPONENT and len(mantissa) <= 32
    if b"." in number:
        return True
    try:
        return -(2**63) <= int(number) < 2**64
    except ValueError:
        return True  # not a number at all: the parser will say so
