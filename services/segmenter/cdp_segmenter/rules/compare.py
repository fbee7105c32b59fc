"""One comparison and the value seen -> yes or no: what each operator means for each type of value."""

from collections.abc import Callable
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from functools import lru_cache
from typing import Any, Final, cast

from cdp_segmenter.rules.ast import Comparison, Operator
from cdp_segmenter.rules.times import instant
from cdp_segmenter.rules.values import compiled_pattern

_OPPOSITES: Final[dict[Operator, Operator]] = {"!=": "=", "not_in": "in", "none": "any"}


def negated(comparison: Comparison) -> Comparison | None:
    """The positive comparison that this one is the exact opposite of; None when it is positive itself."""
    opposite = _OPPOSITES.get(comparison.operator)
    return Comparison(opposite, comparison.value) if opposite else None


def satisfied(comparison: Comparison, seen: Any, now: datetime | None) -> bool:
    """Whether a value (decoded JSON, money as Decimal or Fraction, an instant; None is missing) satisfies it.

    ``now`` is needed by ``within_last`` alone.
    """
    operator, expected = comparison.operator, comparison.value
    if operator == "exists":
        return exists(seen) is expected
    if positive := negated(comparison):
        return not satisfied(positive, seen, now)
    if seen is None:
        return False
    if operator == "within_last":
        return _within(cast(timedelta, expected), seen, now)
    return _TESTS[operator](seen, cast(Any, expected))


def exists(seen: Any) -> bool:
    if isinstance(seen, dict):  # the store keeps leaves only: an object of nothing is nothing
        return any(map(exists, seen.values()))
    return seen is not None


def _equal(seen: Any, expected: Any) -> bool:
    left, right = _comparable(seen, expected)
    return left is not None and bool(left == right)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any, Any], bool]:
    def test(seen: Any, expected: Any) -> bool:
        left, right = _comparable(_as_instant(seen, expected), expected)
        return left is not None and compare(left, right)

    return test


def _comparable(seen: Any, expected: Any) -> tuple[Any, Any]:
    """Both in one type, or (None, None) when they are of two types."""
    match seen, expected:
        case (bool(), bool()) | (str(), str()) | (datetime(), datetime()):
            return seen, expected
        case (bool(), _) | (_, bool()):
            return None, None
        case (Decimal(), Decimal()):
            return seen, expected
        case (Fraction(), Decimal()):
            return seen, Fraction(expected)
        case (int() | float(), int() | float()):
            return float(seen), float(expected)
    return None, None


def _as_instant(seen: Any, expected: Any) -> Any:
    return instant(seen) if isinstance(seen, str) and isinstance(expected, datetime) else seen


def _between(seen: Any, ends: Any) -> bool:
    low, high = ends
    return _TESTS[">="](seen, low) and _TESTS["<="](seen, high)


def _contains(seen: Any, part: Any) -> bool:
    if isinstance(seen, str):
        return isinstance(part, str) and part in seen
    return isinstance(seen, list) and any(_equal(item, part) for item in seen)


def _any(seen: Any, items: Any) -> bool:
    return isinstance(seen, list) and any(_contains(seen, item) for item in items)


def _all(seen: Any, items: Any) -> bool:
    return isinstance(seen, list) and all(_contains(seen, item) for item in items)


def _within(length: timedelta, seen: Any, now: datetime | None) -> bool:
    at = seen if isinstance(seen, datetime) else instant(seen) if isinstance(seen, str) else None
    return at is not None and now is not None and now - length < at <= now


@lru_cache(maxsize=1024)
def _pattern(text: str) -> Any:
    return compiled_pattern(text)


_TESTS: Final[dict[Operator, Callable[[Any, Any], bool]]] = {
    "=": _equal,
    ">": _ordered(lambda left, right: left > right),
    "<": _ordered(lambda left, right: left < right),
    ">=": _ordered(lambda left, right: left >= right),
    "<=": _ordered(lambda left, right: left <= right),
    "between": _between,
    "contains": _contains,
    "starts_with": lambda seen, start: isinstance(seen, str) and seen.startswith(start),
    "matches": lambda seen, pattern: isinstance(seen, str) and _pattern(pattern).search(seen) is not None,
    "in": lambda seen, items: any(_equal(seen, item) for item in items),
    "any": _any,
    "all": _all,
}
