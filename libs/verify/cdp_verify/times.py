"""Texts of rules -> instants and durations."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

_INSTANT: Final = re.compile(r"\d{4}-\d{2}-\d{2}([T ]\d{2}:\d{2}(:\d{2}(\.\d{1,9})?)?(Z|[+-]\d{2}:\d{2})?)?\Z")
_DURATION: Final = re.compile(r"P(?:(\d+)W)?(?:(\d+)D)?(?:T(?:(\d+)H)?(?:(\d+)M)?(?:(\d+)S)?)?\Z")

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)


class BadTime(ValueError):
    """The text is no time."""


def instant(text: str) -> datetime:
    """A date or timestamp, UTC unless it says otherwise, in whole milliseconds. Raises BadTime."""
    try:
        at = datetime.fromisoformat(text) if _INSTANT.match(text) else None
    except ValueError:
        at = None
    if at is None:
        raise BadTime(f"{text!r} is no time")
    return milliseconds(at if at.tzinfo else at.replace(tzinfo=UTC))


def length(given: object) -> timedelta:
    """An ISO 8601 duration, or a number of days of 86,400 s. Raises BadTime."""
    if isinstance(given, int | float):
        return timedelta(days=given)
    match = _DURATION.match(str(given))
    if match is None:
        raise BadTime(f"{given!r} is no duration")
    weeks, days, hours, minutes, seconds = (int(number or 0) for number in match.groups())
    return timedelta(weeks=weeks, days=days, hours=hours, minutes=minutes, seconds=seconds)


def ticks(at: datetime) -> int:
    """Whole milliseconds since 1970."""
    return (at - _EPOCH) // _MS


def milliseconds(at: datetime) -> datetime:
    """Cut to the grain of stored times."""
    return at.astimezone(UTC).replace(microsecond=at.microsecond // 1000 * 1000)
