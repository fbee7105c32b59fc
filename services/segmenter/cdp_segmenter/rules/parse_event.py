"""The JSON of an event condition, with its shorthand forms -> EventCondition."""

from collections.abc import Mapping
from datetime import timedelta
from typing import Any, Final, cast

from cdp_segmenter.rules.ast import Aggregate, Comparison, Condition, EventCondition, Kind, Operator
from cdp_segmenter.rules.fields import OPERATORS
from cdp_segmenter.rules.parse_filter import filters_of, keys_of
from cdp_segmenter.rules.reader import Reader
from cdp_segmenter.rules.times import duration
from cdp_segmenter.rules.values import BadValue, exact_decimal

_AGGREGATES: Final = ("count", "sum", "first", "last")
_FLAT: Final = ("aggregate", "property", "operator", "value")
_KINDS: Final[dict[Aggregate, Kind]] = {"count": "number", "sum": "money", "first": "time", "last": "time"}
_NUMERIC: Final = frozenset[Operator](("=", "!=", ">", "<", ">=", "<=", "between", "in", "not_in"))
_TIMED: Final = OPERATORS["time"]
_ONCE: Final = Comparison(">=", 1.0)
_MAX_NAMES: Final = 20
_MAX_NAME: Final = 200


def event_condition(reader: Reader, given: Mapping[str, Any], path: str) -> Condition | None:
    """``{event, count|sum|first|last, timeWindow|window, filters}``; without an aggregate: at least once."""
    reader.only(given, path, "event", *_AGGREGATES, *_FLAT, "window", "timeWindow", "filters")
    names = _names(reader, given["event"], f"{path}.event")
    aggregate, test, test_path = _aggregate(reader, given, path)
    window = _window(reader, given, path)
    filters = None if given.get("filters") is None else filters_of(reader, given["filters"], f"{path}.filters")
    property_ = _summed(reader, test, test_path) if aggregate == "sum" else ()
    comparison = _comparison(reader, aggregate, test, test_path)
    if comparison is None or not names:
        return None
    return EventCondition(names, aggregate, comparison, property_, window, filters)


def _names(reader: Reader, given: Any, path: str) -> tuple[str, ...]:
    names = given if isinstance(given, list) else [given]
    if not names or len(names) > _MAX_NAMES or not all(isinstance(n, str) and 0 < len(n) <= _MAX_NAME for n in names):
        reader.fault(path, f"give the name or type of an event, or a list of up to {_MAX_NAMES} of them")
        return ()
    return tuple(dict.fromkeys(names))


def _aggregate(reader: Reader, given: Mapping[str, Any], path: str) -> tuple[Aggregate, Mapping[str, Any], str]:
    """The aggregate, the object that holds its comparison, and that object's path."""
    named = [name for name in _AGGREGATES if name in given]
    if len(named) > 1:
        reader.fault(path, f"give one of {', '.join(named)}; join several conditions with a group")
    if named:
        for key in _FLAT:
            if given.get(key) is not None:
                reader.passed_over(f"{path}.{key}", f"this has no meaning beside {named[0]}")
        nested = given[named[0]]
        if named[0] == "count" and isinstance(nested, int) and not isinstance(nested, bool):
            nested = {"min": nested}
        if not isinstance(nested, Mapping):
            reader.fault(f"{path}.{named[0]}", 'give an object, such as {"min": 3}')
            nested = {"min": 1}
        return cast(Aggregate, named[0]), nested, f"{path}.{named[0]}"
    aggregate = given.get("aggregate", "count")
    if aggregate not in _AGGREGATES:
        reader.fault(f"{path}.aggregate", f"there is no aggregate {aggregate!r}: there are {', '.join(_AGGREGATES)}")
        aggregate = "count"
    flat = {key: given[key] for key in ("property", "operator", "value") if key in given}
    return cast(Aggregate, aggregate), flat, path


def _comparison(reader: Reader, aggregate: Aggregate, test: Mapping[str, Any], path: str) -> Comparison | None:
    numeric = aggregate in ("count", "sum")
    if aggregate != "sum" and test.get("property") is not None:
        reader.passed_over(f"{path}.property", "only sum reads a property: filters test the others")
    if "min" in test or "max" in test:
        return _range(reader, aggregate, test, path)
    known = (*(("min", "max") if numeric else ()), "operator", "value", "property")
    reader.only(test, path, *known, stored_too=False)
    if aggregate == "count" and "operator" not in test and "value" not in test:
        return _ONCE
    if aggregate in ("first", "last") and test.get("operator") == "exists":
        reader.fault(f"{path}.operator", "leave the aggregate out to ask whether the event happened at all")
        return None
    allowed = _NUMERIC if numeric else _TIMED - {"!="}
    return reader.comparison(test, path, _KINDS[aggregate], allowed, f"the {aggregate} of events")


def _range(reader: Reader, aggregate: Aggregate, test: Mapping[str, Any], path: str) -> Comparison | None:
    """``{min, max}``: both included, either may be left out."""
    if aggregate in ("first", "last"):
        reader.fault(path, "give operator and value, such as within_last P7D")
        return None
    reader.only(test, path, "min", "max", "property")
    ends: dict[str, Any] = {}
    for end in ("min", "max"):
        if test.get(end) is not None:
            try:
                number = exact_decimal(test[end])
                ends[end] = float(number) if aggregate == "count" else number
            except BadValue as error:
                reader.fault(f"{path}.{end}", str(error))
                return None
    match ends:
        case {"min": low, "max": high}:
            if low > high:
                reader.fault(f"{path}.max", "max must not be below min")
            return Comparison("between", (low, high))
        case {"min": low}:
            return Comparison(">=", low)
        case {"max": high}:
            return Comparison("<=", high)
    reader.fault(path, "give min, max or both")
    return None


def _summed(reader: Reader, test: Mapping[str, Any], path: str) -> tuple[str, ...]:
    given = test.get("property")
    if not isinstance(given, str):
        reader.fault(f"{path}.property", "give the numeric property to add up, such as revenue")
        return ()
    return keys_of(reader, given, f"{path}.property")


def _window(reader: Reader, given: Mapping[str, Any], path: str) -> timedelta | None:
    present = [key for key in ("window", "timeWindow") if given.get(key) is not None]
    if len(present) > 1:
        reader.fault(f"{path}.timeWindow", "give window or timeWindow, not both")
    for key in present:
        try:
            return duration(given[key])
        except ValueError as error:
            reader.fault(f"{path}.{key}", str(error))
    return None
