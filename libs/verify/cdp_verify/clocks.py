"""What a client said of time, and when it arrived -> whether a stored time is one that the rule for clocks gives.

The rule is read a second time from its documentation. Times are whole milliseconds since 1970.
"""

from collections.abc import Iterator, Sequence
from typing import Final

_TOLERANCE: Final = 300_000  # clocks that differ by less agree
_OFFLINE: Final = 30 * 86_400_000
_EARLIEST: Final = 86_400_000
_GRAIN: Final = 2  # of what was rounded on the way


def is_time_of(stored: int, received: int, original: int | None, sent_at: Sequence[int]) -> bool:
    """``sent_at``: the client's clock at each try that told it; any of them may be the one that was stored."""
    return any(abs(stored - time) <= _GRAIN for time in _possible(received, original, sent_at))


def _possible(received: int, original: int | None, sent_at: Sequence[int]) -> Iterator[int]:
    if original is None:
        yield received
        return
    lags = [received - sent for sent in sent_at]
    if not lags or max(lags) >= -_TOLERANCE - _GRAIN:
        yield from _bounded(original, received)
    for lag in lags:
        if abs(lag) >= _TOLERANCE - _GRAIN:
            yield from _bounded(original + lag, received)
        # it may have been written down when it was sent, and have waited since
        if lag >= _TOLERANCE - _GRAIN and original <= received - _OFFLINE + _GRAIN:
            yield received


def _bounded(time: int, received: int) -> Iterator[int]:
    """A time that cannot be is the time of arrival."""
    latest = received + _TOLERANCE
    if _EARLIEST - _GRAIN <= time <= latest + _GRAIN:
        yield time
    if not _EARLIEST + _GRAIN <= time <= latest - _GRAIN:
        yield received
