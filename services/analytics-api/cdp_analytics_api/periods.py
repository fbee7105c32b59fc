"""Dates, times and durations as clients write them -> exact half-open periods and milliseconds."""

from dataclasses import dataclass
from datetime import UTC, date, datetime, time, timedelta
from typing import Final

from pydantic import TypeAdapter, ValidationError

EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
# the last moment that 41 bits of milliseconds hold is in 2039; windows and periods stay below
LATEST: Final = datetime(2039, 1, 1, tzinfo=UTC)
_MILLISECOND: Final = timedelta(milliseconds=1)
_durations: Final = TypeAdapter(timedelta)


class BadPeriod(ValueError):
    """A period, time or duration that cannot be meant; ``path`` is the field's name on the wire."""

    def __init__(self, path: str, message: str) -> None:
        super().__init__(message)
        self.path, self.message = path, message


@dataclass(frozen=True, slots=True)
class Period:
    """``start <= moment < end``, both aware."""

    start: datetime
    end: datetime


def period(start: str | None, end: str | None, *, now: datetime, default: timedelta | None) -> Period:
    """The period of ``startDate`` and ``endDate``: a bare date means its whole day in UTC, a time includes itself.

    Without ``start`` it begins ``default`` before its end, or in 1970. Raises BadPeriod.
    """
    until = _bound(end, "endDate", upper=True) if end else now + _MILLISECOND
    if start:
        since = _bound(start, "startDate", upper=False)
    else:
        since = EPOCH if default is None else max(EPOCH, until - default)
    if since >= until:
        raise BadPeriod("startDate", "startDate must lie before endDate.")
    return Period(since, until)


def duration_ms(value: str | int | float, path: str) -> int:
    """Milliseconds of an ISO 8601 duration (``P7D``, ``PT30M``) or of a number of seconds. Raises BadPeriod."""
    try:
        length = _durations.validate_python(value)
    except ValidationError as error:
        raise BadPeriod(path, f"{value!r} is neither an ISO 8601 duration like P7D nor a number of seconds.") from error
    if not _MILLISECOND <= length <= timedelta(days=3660):
        raise BadPeriod(path, "The duration must be between one millisecond and ten years.")
    return length // _MILLISECOND


def _bound(text: str, path: str, *, upper: bool) -> datetime:
    try:
        # a date has ten characters: what is shorter (20260215, 2026-W07) Python takes for a time, its first moment
        is_day = len(text) <= 10
        moment = _day(text) + timedelta(days=upper) if is_day else _moment(text) + _MILLISECOND * upper
    except ValueError as error:
        raise BadPeriod(path, f"{text!r} is neither a date (2026-02-15) nor a time (2026-02-15T10:30:00Z).") from error
    except OverflowError:  # the calendar's very ends
        moment = datetime.max.replace(tzinfo=UTC)
    if not EPOCH <= moment <= LATEST:
        raise BadPeriod(path, f"{text} lies outside the years 1970 to 2038.")
    return moment


def _day(text: str) -> datetime:
    if len(text) < 10:
        raise ValueError(text)
    return datetime.combine(date.fromisoformat(text), time(), UTC)


def _moment(text: str) -> datetime:
    moment = datetime.fromisoformat(text)
    return (moment if moment.tzinfo else moment.replace(tzinfo=UTC)).astimezone(UTC)
