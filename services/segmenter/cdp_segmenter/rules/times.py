"""Texts -> instants and durations, by rules narrow enough that ClickHouse reads the same texts the same way."""

import re
from datetime import UTC, datetime, timedelta
from typing import Final

# RFC 3339 with the time or its zone optional (UTC then); ClickHouse matches this very pattern before it parses
INSTANT: Final = (
    r"^(190[1-9]|19[1-9][0-9]|2[01][0-9][0-9])-(0[1-9]|1[0-2])-(0[1-9]|[12][0-9]|3[01])"
    r"([T ]([01][0-9]|2[0-3]):[0-5][0-9](:[0-5][0-9](\.[0-9]{1,9})?)?(Z|[+-]([01][0-9]|2[0-3]):[0-5][0-9])?)?$"
)
_INSTANT: Final = re.compile(INSTANT.replace("$", r"\Z"))
_DURATION: Final = re.compile(
    r"P(?:(?P<weeks>\d{1,4})W)?(?:(?P<days>\d{1,5})D)?"
    r"(?:T(?:(?P<hours>\d{1,5})H)?(?:(?P<minutes>\d{1,6})M)?(?:(?P<seconds>\d{1,7})S)?)?\Z"
)
_LONGEST: Final = timedelta(days=3660)
_MILLISECOND: Final = timedelta(milliseconds=1)
EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)


def instant(text: str) -> datetime | None:
    """The instant of a date or a timestamp in whole milliseconds, UTC; None when the text is neither."""
    if not _INSTANT.match(text):
        return None
    try:
        parsed = datetime.fromisoformat(text)
    except ValueError:  # 30 February
        return None
    return whole_ms(parsed if parsed.tzinfo else parsed.replace(tzinfo=UTC))


def whole_ms(at: datetime) -> datetime:
    """The instant cut to milliseconds, the grain of every stored time, in UTC."""
    at = at.astimezone(UTC)
    return at.replace(microsecond=at.microsecond // 1000 * 1000)


def epoch_ms(at: datetime) -> int:
    """Whole milliseconds since 1970, rounded down."""
    return (at - EPOCH) // _MILLISECOND


def from_epoch_ms(ms: int) -> datetime:
    """The reverse of :func:`epoch_ms`."""
    return EPOCH + ms * _MILLISECOND


def duration(given: object) -> timedelta:
    """An ISO 8601 duration (``P30D``, ``PT1H``) or a bare number of days. A day is 86,400 s.

    Raises ValueError, in words for the author of the rule.
    """
    if isinstance(given, int | float) and not isinstance(given, bool):
        length = timedelta(days=float(given)) if abs(given) < 10**5 else _LONGEST * 2
    elif isinstance(given, str) and (match := _DURATION.match(given)):
        length = timedelta(**{unit: int(amount) for unit, amount in match.groupdict().items() if amount})
    else:
        raise ValueError("give a duration such as P30D (30 days) or PT1H (1 hour), or a number of days")
    if not timedelta(seconds=1) <= length <= _LONGEST:
        raise ValueError("give a duration between one second and ten years")
    return length - timedelta(microseconds=length.microseconds % 1000)


def in_words(length: timedelta) -> str:
    """``30 days``, ``1 hour``: the largest unit that divides it."""
    seconds = length.total_seconds()
    for unit, size in (("day", 86_400), ("hour", 3_600), ("minute", 60)):
        if seconds % size == 0:
            return f"{int(seconds // size):,} {unit}{'' if seconds == size else 's'}"
    return f"{seconds:,.10g} second{'' if seconds == 1 else 's'}"
