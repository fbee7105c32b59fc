"""Conditions on properties, and breakdowns by one, on the real engine against plain Python, over odd values."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest

from cdp_analytics_api.notation import from_millis
from cdp_analytics_api.periods import Period
from cdp_analytics_api.queries.funnel import Funnel, funnel
from cdp_analytics_api.questions import FunnelStep, PropertyFilter
from cdp_clickhouse.client import ClickHouse

from .conftest import EventRow, insert_events

pytestmark = pytest.mark.clickhouse
AT_MS = 1_790_000_000_000
PERIOD = Period(from_millis(AT_MS), from_millis(AT_MS) + timedelta(seconds=1))
MISSING: Any = object()
ODD = "it's \\ \t\n\"ü😀 {x:String} %s"
VALUES = [MISSING, None, "", "null", "x", "xy", ODD, 0, -0.0, 1, 1.5, -2, True, False, [], ["x", ODD], {"x": 1}]
CONDITIONS: list[tuple[str, Any]] = [
    *(("=", value) for value in ("", "null", "x", ODD, 0, 1, 1.0, 1.5, True, False)),
    *(("!=", value) for value in ("x", 0, True)),
    *(("contains", value) for value in ("", "x", ODD)),
    *((operator, value) for operator in (">", ">=", "<", "<=") for value in (0, 1.5, "x")),
    ("in", ["x", 1, True]),
    ("not_in", ["x", 1, True]),
    ("exists", None),
    ("exists", False),
]


def holds(found: Any, operator: str, value: Any) -> bool:
    """What a condition means; a value that is missing or null is none."""
    if operator == "exists":
        return (found is not MISSING and found is not None) is (value is not False)
    if operator in ("!=", "not_in"):
        return not holds(found, {"!=": "=", "not_in": "in"}[operator], value)
    if operator == "in":
        return any(holds(found, "=", one) for one in value)
    if operator == "contains":
        return value in found if isinstance(found, str | list) else False
    if kind(found) is not kind(value):
        return False
    tests = {"=": found == value, ">": found > value, ">=": found >= value, "<": found < value, "<=": found <= value}
    return bool(tests[operator])


def kind(value: Any) -> type:
    return float if type(value) is int else type(value)


def shown(found: Any) -> str:
    if found is MISSING or found is None:
        return ""
    texts = {True: "true", False: "false"}
    return texts[found] if isinstance(found, bool) else found if isinstance(found, str) else f"{found:g}"


async def test_conditions_and_breakdowns_agree_with_the_oracle(store: ClickHouse) -> None:
    workspace, path = "filters", f"deep.{ODD}"
    rows = []
    for offset, found in enumerate(VALUES):
        properties = {} if found is MISSING else {ODD: found}
        rows.append(EventRow(workspace, "Done", uuid4(), AT_MS, {"deep": properties}, offset=offset))
    await insert_events(store, rows)
    simple = [found for found in VALUES if not isinstance(found, list | dict)]
    for operator, value in CONDITIONS:
        chosen = PropertyFilter.model_validate({"property": path, "operator": operator, "value": value})
        steps = (FunnelStep(event="Done", filters=[chosen]), FunnelStep(event="Never"))
        asked = Funnel(steps, PERIOD, 1000, breakdown=("deep", ODD), times=False)
        told = {row["breakdown"]: row["reached_1"] for row in await store.rows(funnel(workspace, asked))}
        expected = Counter(shown(found) for found in simple if holds(found, operator, value))
        lists = sum(holds(found, operator, value) for found in VALUES if isinstance(found, list | dict))
        assert {text: count for text, count in told.items() if text[:1] not in ("[", "{")} == expected, (
            operator,
            value,
        )
        assert sum(told.values()) == sum(expected.values()) + lists, (operator, value)
