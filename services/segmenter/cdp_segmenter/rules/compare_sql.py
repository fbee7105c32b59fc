"""One comparison and expressions of the value -> a SQL condition that is always 0 or 1, the twin of ``compare``."""

from collections.abc import Callable, Iterable, Iterator
from datetime import datetime, timedelta
from decimal import Decimal
from typing import Any, Final, cast

from cdp_segmenter.rules.ast import Comparison, Scalar
from cdp_segmenter.rules.bound import Bound
from cdp_segmenter.rules.compare import negated
from cdp_segmenter.rules.json_sql import JsonSql
from cdp_segmenter.rules.times import INSTANT, epoch_ms
from cdp_segmenter.rules.values import MICROS

_ORDER: Final = frozenset(("=", ">", "<", ">=", "<="))


def json_condition(bound: Bound, comparison: Comparison, json: JsonSql, now: datetime) -> str:
    """Any JSON value: the type of the rule's value decides which reading is compared."""
    if positive := negated(comparison):
        return f"NOT {json_condition(bound, positive, json, now)}"
    operator, expected = comparison.operator, cast(Any, comparison.value)
    match operator:
        case "exists":
            return json.present if expected else f"NOT {json.present}"
        case "within_last":
            return time_condition(bound, comparison, instant_of(bound, json.text), now)
        case "in":
            return _or(_known(f"{_scalar(json, kind)} IN {values}") for kind, values in _bound_lists(bound, expected))
        case "any":
            return _or(f"hasAny({_present(json, kind)}, {values})" for kind, values in _bound_lists(bound, expected))
        case "all":
            return _and(f"hasAll({_present(json, kind)}, {values})" for kind, values in _bound_lists(bound, expected))
        case "contains":
            return _contains(bound, expected, json)
        case "starts_with" | "matches":
            return text_condition(bound, comparison, json.text)
    sample = expected[0] if isinstance(expected, tuple) else expected
    if isinstance(sample, datetime):
        return time_condition(bound, comparison, instant_of(bound, json.text), now)
    if isinstance(sample, str):
        return text_condition(bound, comparison, json.text)
    if isinstance(sample, bool):
        return _known(f"{json.flag} = {_flag(sample)}")
    return number_condition(bound, comparison, json.number)


def number_condition(bound: Bound, comparison: Comparison, number: str) -> str:
    """A numeric expression, NULL when missing."""
    return _numeric(comparison, number, lambda value: bound("Float64", float(value)))


def micros_condition(bound: Bound, comparison: Comparison, micros: str, per: str = "") -> str:
    """An exact amount: ``micros`` in millionths; with ``per`` it is a total to be divided by that many, unrounded."""
    factor = f" * {per}" if per else ""
    return _numeric(comparison, micros, lambda value: f"{bound('Int128', in_micros(value))}{factor}")


def time_condition(bound: Bound, comparison: Comparison, ms: str, now: datetime) -> str:
    """An expression of milliseconds since 1970, NULL when missing."""
    if comparison.operator == "within_last":
        after = bound("Int64", epoch_ms(now - cast(timedelta, comparison.value)))
        return _known(f"{ms} > {after} AND {ms} <= {bound('Int64', epoch_ms(now))}")
    return _numeric(comparison, ms, lambda value: bound("Int64", epoch_ms(value)))


def text_condition(bound: Bound, comparison: Comparison, text: str) -> str:
    """A text expression, NULL when missing."""
    if positive := negated(comparison):
        return f"NOT {text_condition(bound, positive, text)}"
    expected = cast(Any, comparison.value)
    match comparison.operator:
        case "exists":
            return f"(isNotNull({text}) = {int(expected)})"
        case "in":
            return _known(f"{text} IN {bound('Array(String)', expected)}")
        case "contains":
            return _known(f"position({text}, {bound('String', expected)}) > 0")
        case "starts_with":
            return _known(f"startsWith({text}, {bound('String', expected)})")
        case "matches":
            return _known(f"match({text}, {bound('String', expected)})")
    return _known(f"{text} = {bound('String', expected)}")


def names_condition(bound: Bound, comparison: Comparison, texts: str) -> str:
    """A set of texts: the comparison holds when it holds for one of them."""
    if positive := negated(comparison):
        return f"NOT {names_condition(bound, positive, texts)}"
    expected = cast(Any, comparison.value)
    match comparison.operator:
        case "exists":
            return f"(notEmpty({texts}) = {int(expected)})"
        case "in" | "any":
            return f"hasAny({texts}, {bound('Array(String)', expected)})"
        case "all":
            return f"hasAll({texts}, {bound('Array(String)', expected)})"
        case "=":
            return f"has({texts}, {bound('String', expected)})"
    return f"arrayExists(x -> {text_condition(bound, comparison, 'x')}, {texts})"


def in_micros(value: Any) -> int:
    """Millionths of an amount that the parser checked to be a whole number of them."""
    return int(Decimal(value).scaleb(MICROS))


def _numeric(comparison: Comparison, seen: str, literal: Callable[[Any], str]) -> str:
    if positive := negated(comparison):
        return f"NOT {_numeric(positive, seen, literal)}"
    operator, expected = comparison.operator, cast(Any, comparison.value)
    if operator in _ORDER:
        return _known(f"{seen} {operator} {literal(expected)}")
    if operator == "between":
        return _known(f"{seen} >= {literal(expected[0])} AND {seen} <= {literal(expected[1])}")
    if operator == "in":
        return _or(_known(f"{seen} = {literal(value)}") for value in dict.fromkeys(expected))
    return f"(isNotNull({seen}) = {int(expected)})"


def instant_of(bound: Bound, text: str) -> str:
    """Milliseconds of a text that is a date or timestamp, by the same pattern as ``times.instant``."""
    guarded = f"if(match({text}, {bound('String', INSTANT)}), {text}, NULL)"
    return f"toUnixTimestamp64Milli(parseDateTime64BestEffortOrNull({guarded}, 3, 'UTC'))"


def _contains(bound: Bound, expected: Scalar, json: JsonSql) -> str:
    if isinstance(expected, bool):
        return f"has({json.flags}, {_flag(expected)})"
    if not isinstance(expected, str):
        return f"has({json.numbers}, {bound('Float64', expected)})"
    part = bound("String", expected)
    return f"({_known(f'position({json.text}, {part}) > 0')} OR has({json.texts}, {part}))"


def _scalar(json: JsonSql, kind: str) -> str:
    """For IN, to which 0 and -0 are two numbers."""
    return {"String": json.text, "Float64": f"{json.number} + 0", "Bool": json.flag}[kind]


def _present(json: JsonSql, kind: str) -> str:
    """The items of a type. ClickHouse's hasAny and hasAll (not has) take a NULL for an empty text, 0 or false."""
    items = {"String": json.texts, "Float64": json.numbers, "Bool": json.flags}[kind]
    return f"arrayFilter(x -> isNotNull(x), {items})"


def _by_type(values: tuple[Scalar, ...]) -> Iterator[tuple[str, tuple[Scalar, ...]]]:
    """ClickHouse type -> the values of that type, for the types that occur."""
    for kind, type_ in (("String", str), ("Bool", bool), ("Float64", float)):
        if chosen := tuple(value for value in values if type(value) is type_):
            yield kind, chosen


def _bound_lists(bound: Bound, values: tuple[Scalar, ...]) -> list[tuple[str, str]]:
    return [
        (kind, f"[{', '.join(map(_flag, chosen))}]" if kind == "Bool" else bound(f"Array({kind})", chosen))
        for kind, chosen in _by_type(values)
    ]


def _flag(value: object) -> str:
    return "true" if value else "false"


def _known(condition: str) -> str:
    """NULL (a missing value) is no."""
    return f"ifNull({condition}, 0)"


def _or(conditions: Iterable[str]) -> str:
    return f"({' OR '.join(conditions)})"


def _and(conditions: Iterable[str]) -> str:
    return f"({' AND '.join(conditions)})"
