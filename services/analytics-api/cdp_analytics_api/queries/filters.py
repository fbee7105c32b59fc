"""Conditions on an event's properties -> SQL over the stored JSON."""

from typing import Any, Final

from cdp_analytics_api.questions import PropertyFilter, Scalar
from cdp_clickhouse.statement import Statement, join, value

_NUMBERS: Final = "('Int64', 'UInt64', 'Double')"


def condition(chosen: PropertyFilter, prefix: str) -> Statement:
    """One filter as a boolean expression; ``prefix`` keeps its parameters apart from those of other filters."""
    path = _path(chosen.keys, prefix)
    operands = chosen.operands
    match chosen.operator:
        case "exists":
            return _kind(path) + (" =" if chosen.value is False else " !=") + " 'Null'"
        case "=" | "in":
            return _any_equal(path, operands, prefix)
        case "!=" | "not_in":
            return "NOT " + _any_equal(path, operands, prefix)
        case "contains":
            return _contains(path, str(operands[0]), prefix)
        case operator:
            return _compared(path, operator, operands[0], prefix)


def as_text(keys: tuple[str, ...], prefix: str) -> Statement:
    """A property as text, for grouping: strings as they are, everything else as JSON, missing and null as ''."""
    path = _path(keys, prefix)
    kind, at = _kind(path), "(properties" + path + ")"
    text = join("", ["if(", kind, " = 'String', JSONExtractString", at, ", JSONExtractRaw", at, ")"])
    return "if(" + kind + " = 'Null', '', " + text + ")"


def _path(keys: tuple[str, ...], prefix: str) -> Statement:
    return join("", (", " + value(f"{prefix}_key{depth}", "String", key) for depth, key in enumerate(keys)))


def _kind(path: Statement) -> Statement:
    """'Null' of what is missing, too."""
    return "JSONType(properties" + path + ")"


def _any_equal(path: Statement, operands: list[Scalar], prefix: str) -> Statement:
    texts = [operand for operand in operands if isinstance(operand, str)]
    truths = sorted({int(operand) for operand in operands if isinstance(operand, bool)})
    # True == 1; -0 and 0 are two numbers to IN
    numbers = [float(operand) + 0.0 for operand in operands if not isinstance(operand, str | bool)]
    readings: list[tuple[str, str, Statement, list[Any]]] = [
        ("= 'String'", "JSONExtractString", value(f"{prefix}_texts", "Array(String)", texts), texts),
        (f"IN {_NUMBERS}", "0 + JSONExtractFloat", value(f"{prefix}_numbers", "Array(Float64)", numbers), numbers),
        ("= 'Bool'", "JSONExtractBool", value(f"{prefix}_truths", "Array(UInt8)", truths), truths),
    ]
    kinds = [_typed(path, test, extract, allowed) for test, extract, allowed, chosen in readings if chosen]
    return "(" + join(" OR ", kinds or ["0"]) + ")"


def _typed(path: Statement, type_test: str, extract: str, allowed: Statement) -> Statement:
    return "(" + _kind(path) + f" {type_test} AND {extract}(properties" + path + ") IN " + allowed + ")"


def _contains(path: Statement, text: str, prefix: str) -> Statement:
    needle = value(f"{prefix}_text", "String", text)
    in_text = "position(JSONExtractString(properties" + path + "), " + needle + ") > 0"
    in_list = "has(JSONExtract(properties" + path + ", 'Array(String)'), " + needle + ")"
    kind = _kind(path)
    return "(" + kind + " = 'Array' AND " + in_list + " OR " + kind + " = 'String' AND " + in_text + ")"


def _compared(path: Statement, operator: str, operand: Scalar, prefix: str) -> Statement:
    if isinstance(operand, str):
        left, test, bound = "JSONExtractString", "= 'String'", value(f"{prefix}_bound", "String", operand)
    else:
        left, test, bound = "JSONExtractFloat", f"IN {_NUMBERS}", value(f"{prefix}_bound", "Float64", float(operand))
    return "(" + _kind(path) + f" {test} AND {left}(properties" + path + f") {operator} " + bound + ")"
