"""A place in a newest-first list of events <-> the opaque cursor that clients send back."""

import base64
import binascii
import re
from typing import Final, NamedTuple

from cdp_analytics_api.periods import LATEST

# what was in quarantine when a log was lost has offsets below 0, as the playbook in docs/operations.md moves them
_SHAPE: Final = re.compile(r"(\d{1,17})\.(\d{1,10})\.(-?\d{1,19})\Z")
_LAST_S: Final = int(LATEST.timestamp())
_LAST_PARTITION: Final = 2**31 - 1
_LAST_OFFSET: Final = 2**63 - 1


class Place(NamedTuple):
    """The last event of a page: its time since 1970 and its place in the log, which no other event shares."""

    at: int
    partition: int
    offset: int


class BadCursor(ValueError):
    """The cursor was not made by this API."""


def write_cursor(place: Place) -> str:
    text = f"{place.at}.{place.partition}.{place.offset}"
    return base64.urlsafe_b64encode(text.encode()).decode().rstrip("=")


def read_cursor(cursor: str, *, per_second: int) -> Place:
    """``per_second``: in what the list counts its times. Raises BadCursor, also for a place that no event can have."""
    try:
        text = base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)).decode("ascii")
    except (binascii.Error, ValueError) as error:
        raise BadCursor("this cursor was not made by this API") from error
    found = _SHAPE.match(text)
    if not found:
        raise BadCursor("this cursor was not made by this API")
    place = Place(*map(int, found.groups()))
    if place.at > _LAST_S * per_second or place.partition > _LAST_PARTITION or abs(place.offset) > _LAST_OFFSET:
        raise BadCursor("this is no cursor of this list")
    return place
