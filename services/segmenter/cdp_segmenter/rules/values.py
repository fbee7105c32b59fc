"""Operator and JSON value of a condition -> a typed comparison, or what is wrong with it in words for its author."""

from collections.abc import Callable
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

import re2  # type: ignore[import-untyped] # it has no stubs

from cdp_segmenter.rules.ast import Comparison, Kind, Operator, Scalar, Value
from cdp_segmenter.rules.times import duration, instant

MICROS: Final = 6  # decimals that sums and amounts of money are compared with, exactly
_MAX_ITEMS: Final = 1000
_MAX_TEXT: Final = 1000
_MAX_LIST_TEXT: Final = 50_000  # the store refuses a longer bound value
_MAX_PATTERN: Final = 500
_MAX_NUMBER: Final = 10**15
MISSING: Final[Any] = object()  # stands for a value that the author left out


class BadValue(ValueError):
    """The value does not fit its operator; the message says what would."""


def comparison(kind: Kind, operator: Operator, given: Any) -> Comparison:
    """The typed comparison. ``given`` is the JSON value, or MISSING. Raises BadValue."""
    if operator == "exists":
        return Comparison("exists", _flag(True if given is MISSING else given))
    if given is MISSING or given is None:
        raise BadValue("a value is needed")
    return Comparison(operator, _BY_OPERATOR[operator](kind, given))


def exact_decimal(number: float) -> Decimal:
    """The number as its author wrote it: 0.1 is 0.1. Raises BadValue beyond 6 decimals or 15 digits."""
    value = Decimal(str(_number(number)))
    if abs(value) >= _MAX_NUMBER or value != round(value, MICROS):
        raise BadValue("give a number below 1,000,000,000,000,000 with at most 6 decimals")
    return value


def _equal(kind: Kind, given: Any) -> Scalar | Decimal | datetime:
    match kind:
        case "money":
            return exact_decimal(given)
        case "number":
            return _number(given)
        case "time":
            return _instant(given)
        case "flag":
            return _flag(given)
        case "text" | "names":
            return _text(given)
        case "json":
            return _scalar(given)


def _ordered(kind: Kind, given: Any) -> Decimal | datetime | float:
    match kind:
        case "money":
            return exact_decimal(given)
        case "time":
            return _instant(given)
        case "json" if isinstance(given, str):
            return _instant(given)
    return _number(given)


def _between(kind: Kind, given: Any) -> Value:
    if not isinstance(given, list) or len(given) != 2:
        raise BadValue("give a list of the lowest and the highest value, both included")
    low, high = _ordered(kind, given[0]), _ordered(kind, given[1])
    if isinstance(low, datetime) is not isinstance(high, datetime):
        raise BadValue("both ends must be numbers, or both dates")
    if low > high:  # type: ignore[operator] # of one kind by now
        raise BadValue("the lowest value must come first")
    return (low, high)


def _list(kind: Kind, given: Any) -> Value:
    if not isinstance(given, list) or not given:
        raise BadValue("give a list with at least one value")
    if len(given) > _MAX_ITEMS or sum(len(item) for item in given if isinstance(item, str)) > _MAX_LIST_TEXT:
        raise BadValue(f"a list holds at most {_MAX_ITEMS:,} values and {_MAX_LIST_TEXT:,} characters")
    return tuple(_equal(kind, item) for item in given)


def _part(kind: Kind, given: Any) -> Value:
    return _text(given) if kind != "json" or isinstance(given, str) else _scalar(given)


def _pattern(kind: Kind, given: Any) -> Value:
    text = _text(given)
    if len(text) > _MAX_PATTERN:
        raise BadValue(f"a pattern has at most {_MAX_PATTERN} characters")
    try:
        compiled_pattern(text)
    except re2.error as error:
        raise BadValue(f"this is no RE2 pattern: {_words(error)}") from error
    return text


def compiled_pattern(pattern: str) -> Any:
    """The RE2 pattern as ClickHouse's ``match`` reads it: a dot takes line breaks too. Raises re2.error."""
    options = re2.Options()
    options.dot_nl = True
    options.log_errors = False
    return re2.compile(pattern, options)


def _within(kind: Kind, given: Any) -> Value:
    try:
        return duration(given)
    except ValueError as error:
        raise BadValue(str(error)) from error


_BY_OPERATOR: Final[dict[Operator, Callable[[Kind, Any], Value]]] = {
    **dict.fromkeys(("=", "!="), _equal),
    **dict.fromkeys((">", "<", ">=", "<="), _ordered),
    "between": _between,
    **dict.fromkeys(("in", "not_in", "any", "all", "none"), _list),
    "contains": _part,
    "starts_with": lambda _, given: _text(given),
    "matches": _pattern,
    "within_last": _within,
}


def _scalar(given: Any) -> Scalar:
    if isinstance(given, bool):
        return given
    if isinstance(given, str):
        return _text(given, empty=True)
    if isinstance(given, int | float):
        return _number(given)
    raise BadValue("give a text, a number, true or false")


def _text(given: Any, *, empty: bool = False) -> str:
    if not isinstance(given, str):
        raise BadValue("give a text")
    if not given and not empty:
        raise BadValue("the text must not be empty")
    if len(given) > _MAX_TEXT:
        raise BadValue(f"a text has at most {_MAX_TEXT:,} characters")
    if "\0" in given or any("\ud800" <= char <= "\udfff" for char in given):
        raise BadValue("the text holds a character that no stored text can hold")
    return given


def _number(given: Any) -> float:
    """A number as the store holds it, a 64-bit float (as JavaScript does)."""
    if isinstance(given, bool) or not isinstance(given, int | float):
        raise BadValue("give a number")
    if not abs(given) <= 1e300:  # nor is NaN
        raise BadValue("the number is too large")
    return float(given) + 0.0  # -0 is 0


def _instant(given: Any) -> datetime:
    at = instant(given) if isinstance(given, str) else None
    if at is None:
        raise BadValue("give a date such as 2026-02-01 or a timestamp such as 2026-02-01T09:30:00Z")
    return at


def _flag(given: Any) -> bool:
    if not isinstance(given, bool):
        raise BadValue("give true or false")
    return given


def _words(error: Exception) -> str:
    reason = error.args[0] if error.args else error
    return reason.decode() if isinstance(reason, bytes) else str(reason)
