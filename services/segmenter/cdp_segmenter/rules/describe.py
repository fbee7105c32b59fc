"""A rule -> English, short enough for a list of segments and exact enough to be checked against."""

from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final

from cdp_segmenter.rules.ast import (
    And,
    Comparison,
    Condition,
    EventCondition,
    InSegment,
    ItemsAre,
    Not,
    Operator,
    Or,
    PropertyIs,
    TraitIs,
)
from cdp_segmenter.rules.times import in_words

_QUANTIFIED: Final = {"any": "at least one", "all": "every one", "none": "none"}
_WORDS: Final[dict[Operator, str]] = {
    "=": "is",
    "!=": "is not",
    ">": "is more than",
    "<": "is less than",
    ">=": "is at least",
    "<=": "is at most",
    "contains": "contains",
    "starts_with": "starts with",
    "matches": "matches",
    "in": "is one of",
    "not_in": "is none of",
    "any": "has any of",
    "all": "has all of",
    "none": "has none of",
}
_TIME_WORDS: Final[dict[Operator, str]] = {
    ">": "is after",
    "<": "is before",
    ">=": "is on or after",
    "<=": "is on or before",
}


def describe(condition: Condition) -> str:
    """One sentence without its full stop."""
    match condition:
        case And(()):
            return "everyone"
        case Or(()):
            return "no one"
        case And(conditions):
            return " and ".join(_inner(inner, Or) for inner in conditions)
        case Or(conditions):
            return " or ".join(_inner(inner, And) for inner in conditions)
        case Not(inner):
            return f"not ({describe(inner)})"
        case TraitIs(field, comparison):
            return f"{field} {_compared(comparison)}"
        case PropertyIs(path, comparison):
            return f"{'.'.join(path) or 'the item'} {_compared(comparison)}"
        case ItemsAre(path, quantifier, inner):
            return f"{_QUANTIFIED[quantifier]} of {'.'.join(path) or 'the item'} has ({describe(inner)})"
        case InSegment(segment_id):
            return f"is a member of {segment_id}"
        case EventCondition():
            return _event(condition)


def _inner(condition: Condition, other: type[And] | type[Or]) -> str:
    text = describe(condition)
    return f"({text})" if isinstance(condition, other) and len(condition.conditions) > 1 else text


def _compared(comparison: Comparison) -> str:
    operator, value = comparison.operator, comparison.value
    if operator == "exists":
        return "is known" if value else "is not known"
    if operator == "within_last":
        return f"is within the last {shown(value)}"
    if operator == "between" and isinstance(value, tuple):
        return f"is between {shown(value[0])} and {shown(value[1])}"
    words = _TIME_WORDS.get(operator, _WORDS[operator]) if isinstance(value, datetime) else _WORDS[operator]
    return f"{words} {shown(value)}"


def _event(condition: EventCondition) -> str:
    names = " or ".join(f'"{name}"' for name in condition.names)
    filters = f" where {describe(condition.filters)}" if condition.filters else ""
    window = f" in the last {in_words(condition.window)}" if condition.window else ""
    match condition.aggregate:
        case "count":
            return f"did {names}{filters} {_times(condition.comparison)}{window}"
        case "sum":
            total = f"the sum of {'.'.join(condition.property)} over {names}{filters}{window}"
            return f"{total} {_compared(condition.comparison)}"
    return f"the {condition.aggregate} {names}{filters}{window} {_compared(condition.comparison)}"


def _times(comparison: Comparison) -> str:
    if comparison == Comparison("<=", 0.0):
        return "never"
    unit = "time" if comparison.value == 1 else "times"
    match comparison.operator:
        case "=":
            return f"exactly {shown(comparison.value)} {unit}"
        case "between" if isinstance(comparison.value, tuple):
            return f"{shown(comparison.value[0])} to {shown(comparison.value[1])} times"
    return f"{_WORDS[comparison.operator].removeprefix('is ')} {shown(comparison.value)} {unit}"


def shown(value: Any) -> str:
    """A value as people write it."""
    match value:
        case None:
            return "missing"
        case bool():
            return "yes" if value else "no"
        case str():
            return f'"{value}"'
        case float() | int() | Decimal():
            text = f"{Decimal(str(value)):,f}"
            return text.rstrip("0").rstrip(".") if "." in text else text
        case datetime():
            return value.isoformat(timespec="milliseconds" if value.microsecond else "seconds").replace("+00:00", "Z")
        case tuple() | list():
            return ", ".join(map(shown, value))
        case timedelta():
            return in_words(value)
    return str(value)
