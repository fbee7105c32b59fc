"""The clock -> partitions of identity.messages made ahead and dropped when their messageIds count again."""

from collections.abc import Iterable
from datetime import date, datetime, timedelta
from typing import Final, NamedTuple

_AHEAD: Final = 3


class Upkeep(NamedTuple):
    """Days to make a partition for, and existing ones to drop."""

    make: list[date]
    drop: list[date]


def upkeep(existing: Iterable[date], now: datetime, window: timedelta) -> Upkeep:
    """Days from one before ``window`` to three ahead are there; older ones go, with a day to spare for late batches."""
    have = set(existing)
    oldest = (now - window).date() - timedelta(days=1)
    wanted = [oldest + timedelta(days=step) for step in range((now.date() - oldest).days + _AHEAD + 1)]
    return Upkeep([day for day in wanted if day not in have], sorted(day for day in have if day < oldest))
