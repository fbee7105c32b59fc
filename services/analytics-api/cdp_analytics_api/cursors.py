"""A place in a newest-first list of events <-> the opaque cursor that clients send back."""

import base64
import binascii
import re
from typing import Final, NamedTuple

_SHAPE: Final = re.compile(r"(-?\d{1,17})\.(\d{1,10})\.(\d{1,19})\Z")


class Place(NamedTuple):
    """The last event of a page: its time in milliseconds and its place in the log, which no other event shares."""

    at_ms: int
    partition: int
    offset: int


class BadCursor(ValueError):
    """The cursor was not made by this API."""


def write_cursor(place: Place) -> str:
    text = f"{place.at_ms}.{place.partition}.{place.offset}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str) -> Place:
    """Raises BadCursor."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise BadCursor("this cursor was not made by this API") from error
    found = _SHAPE.match(text)
    if not found:
        raise BadCursor("this cursor was not made by this API")
    return Place(*map(int, found.groups()))
