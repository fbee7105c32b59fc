"""Only rules that depend on the clock make anybody due, and values never enter the text of a query."""

from datetime import timedelta
from typing import Any

import pytest

from cdp_segmenter.due import due_sql
from cdp_segmenter.rules.parse import parse
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.sql import members_sql
from tests.fakes.segmenter import NOW

SINCE = NOW - timedelta(seconds=7)
TIMELESS: list[dict[str, Any]] = [
    {"field": "attributes.country", "operator": "=", "value": "US"},
    {"field": "computed.lastPurchaseDate", "operator": ">", "value": "2026-01-01"},
    {"event": "purchase", "count": {"min": 3}},
    {"event": "purchase", "first": {"operator": "<", "value": "2026-01-01"}},
]


@pytest.mark.parametrize("rule", TIMELESS)
def test_what_no_clock_can_change_is_not_asked(rule: dict[str, Any]) -> None:
    assert due_sql([parse(rule)], "w", SINCE, NOW) == []


def test_a_window_asks_for_the_events_that_its_end_passed_over() -> None:
    (statement,) = due_sql([parse({"event": "Signed In", "window": "P1D"})], "w", SINCE, NOW)
    day = 86_400_000
    now = int(NOW.timestamp() * 1000)
    instants = {value for value in statement.parameters.values() if isinstance(value, int)}
    assert instants == {now - day - 7_000, now - day}


def test_no_value_of_a_rule_enters_the_text() -> None:
    evil = "x'); DROP TABLE events; --"
    rule = parse(
        {
            "operator": "AND",
            "conditions": [
                {"field": "attributes.a", "operator": "in", "value": [evil]},
                {"field": "attributes.name", "operator": "contains", "value": evil},
                {"event": evil, "filters": [{"property": evil.replace(".", ""), "operator": "=", "value": evil}]},
            ],
        }
    )
    statement = members_sql([rule], Scope(evil, NOW))
    assert "DROP" not in statement.sql
    assert evil in statement.parameters.values()
