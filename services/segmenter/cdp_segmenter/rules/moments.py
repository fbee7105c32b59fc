"""A condition about the clock and the instant it looks at -> when time alone changes the answer next."""

from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any, Final, cast

from cdp_segmenter.rules.ast import Comparison, EventCondition, TraitIs
from cdp_segmenter.rules.times import instant

_DAY: Final = timedelta(days=1)


def moves_with_time(leaf: TraitIs | EventCondition) -> bool:
    """Whether the answer may change although the value seen stays (windows of events apart)."""
    return leaf.comparison.operator == "within_last" or (isinstance(leaf, TraitIs) and is_elapsed(leaf))


def is_elapsed(leaf: TraitIs) -> bool:
    """Whether the value itself is counted from an instant to now."""
    return (leaf.field.space, leaf.field.name) == ("computed", "daysSinceLastPurchase")


def turns(comparison: Comparison, value: Any, now: datetime) -> Iterator[datetime]:
    """The later moments at which a ``within_last`` over this value turns: it arrives, it gets old."""
    at = value if isinstance(value, datetime) else instant(value) if isinstance(value, str) else None
    if at is not None:
        yield from (moment for moment in (at, at + cast(timedelta, comparison.value)) if moment > now)


def next_day(since: datetime, now: datetime) -> datetime:
    """When another whole day will have gone since an instant."""
    return now + _DAY - (now - since) % _DAY
