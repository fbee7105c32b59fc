"""Questions -> the exact SQL; values never enter the text, every statement begins with its workspace."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st
from pydantic import ValidationError

from cdp_analytics_api.cursors import Place
from cdp_analytics_api.periods import Period
from cdp_analytics_api.queries import totals
from cdp_analytics_api.queries.cohorts import Cohorts, cohorts
from cdp_analytics_api.queries.events import EventFilter, event_page
from cdp_analytics_api.queries.filters import condition
from cdp_analytics_api.queries.funnel import Funnel, funnel
from cdp_analytics_api.queries.nodes import profiles_of
from cdp_analytics_api.queries.usage import outcomes
from cdp_analytics_api.questions import FunnelStep, PropertyFilter
from cdp_clickhouse.statement import Statement

DAY = Period(datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 2, tzinfo=UTC))
START = 1_767_225_600_000
ADA = UUID("aaaaaaaa-0000-4000-8000-00000000000a")
TABLE_NAMES = ("events", "profiles ", "profile_aliases", "event_outcomes")
HEAD = (
    "SELECT event, node_id, toUnixTimestamp64Milli(timestamp) AS at_ms, "
    "toUnixTimestamp64Milli(received_at) AS received_ms, call, message_id, source_id, session_id, user_id, "
    "anonymous_id, properties, traits, context, received_partition, received_offset FROM events "
    "WHERE workspace_id = {workspace:String} AND timestamp >= fromUnixTimestamp64Milli({start_ms:Int64}) "
    "AND timestamp < fromUnixTimestamp64Milli({end_ms:Int64}) "
    "AND received_at >= fromUnixTimestamp64Milli({arrived_ms:Int64})"
)
TAIL = " ORDER BY timestamp DESC, received_partition DESC, received_offset DESC LIMIT {rows:UInt32}"
MOVED = "SELECT node_id, profile_id FROM profile_aliases FINAL WHERE workspace_id = {workspace:String}"


@pytest.mark.parametrize(
    ("chosen", "after", "condition_sql"),
    [
        (EventFilter(DAY), None, ""),
        (EventFilter(DAY, type="purchase"), None, " AND event IN {type_names:Array(String)}"),
        (EventFilter(DAY, type="custom"), None, " AND call = 'track' AND event NOT IN {type_names:Array(String)}"),
        (EventFilter(DAY, type="identify"), None, " AND call = {call:String}"),
        (EventFilter(DAY, event="Chair Sat On"), None, " AND event IN {event_names:Array(String)}"),
        (
            EventFilter(DAY, profile_id=ADA),
            None,
            " AND (node_id = {profile:UUID} OR node_id IN ( SELECT node_id FROM ( "
            + MOVED
            + " ) WHERE profile_id = {profile:UUID} ))",
        ),
        (
            EventFilter(DAY),
            Place(5, 1, 2),
            " AND (timestamp, received_partition, received_offset) < (fromUnixTimestamp64Milli({after_ms:Int64}), "
            "{after_partition:Int32}, {after_offset:Int64})",
        ),
    ],
)
def test_a_page_of_events(chosen: EventFilter, after: Place | None, condition_sql: str) -> None:
    statement = event_page("acme", chosen, 50, after)
    assert statement.sql == HEAD + condition_sql + TAIL
    assert statement.parameters["workspace"] == "acme"
    assert (statement.parameters["start_ms"], statement.parameters["rows"]) == (START, 51)


KEY = "properties, {f_key0:String}"
IS_NUMBER, NUMBER = f"JSONType({KEY}) IN ('Int64', 'UInt64', 'Double')", f"JSONExtractFloat({KEY})"


@pytest.mark.parametrize(
    ("operator", "value", "sql"),
    [
        ("=", "a", f"((JSONType({KEY}) = 'String' AND JSONExtractString({KEY}) IN {{f_texts:Array(String)}}))"),
        ("=", 5, f"(({IS_NUMBER} AND 0 + {NUMBER} IN {{f_numbers:Array(Float64)}}))"),
        ("=", True, f"((JSONType({KEY}) = 'Bool' AND JSONExtractBool({KEY}) IN {{f_truths:Array(UInt8)}}))"),
        ("!=", 5, f"NOT (({IS_NUMBER} AND 0 + {NUMBER} IN {{f_numbers:Array(Float64)}}))"),
        (">", 5, f"({IS_NUMBER} AND {NUMBER} > {{f_bound:Float64}})"),
        ("<=", "b", f"(JSONType({KEY}) = 'String' AND JSONExtractString({KEY}) <= {{f_bound:String}})"),
        ("exists", None, f"JSONType({KEY}) != 'Null'"),
        ("exists", False, f"JSONType({KEY}) = 'Null'"),
        (
            "contains",
            "x",
            f"(JSONType({KEY}) = 'Array' AND has(JSONExtract({KEY}, 'Array(String)'), {{f_text:String}}) OR "
            f"JSONType({KEY}) = 'String' AND position(JSONExtractString({KEY}), {{f_text:String}}) > 0)",
        ),
    ],
)
def test_a_condition_on_a_property(operator: str, value: Any, sql: str) -> None:
    chosen = PropertyFilter.model_validate({"property": "price", "operator": operator, "value": value})
    assert condition(chosen, "f").sql == sql


def test_a_list_of_mixed_values_is_compared_by_kind() -> None:
    chosen = PropertyFilter.model_validate({"property": "a.b", "operator": "in", "value": ["x", 1, 1.5, True]})
    parameters = condition(chosen, "f").parameters
    assert parameters == {
        "f_key0": "a",
        "f_key1": "b",
        "f_texts": ["x"],
        "f_numbers": [1.0, 1.5],
        "f_truths": [1],
    }


@pytest.mark.parametrize(
    "bad",
    [
        {"property": "p", "operator": "in", "value": "x"},
        {"property": "p", "operator": "in", "value": []},
        {"property": "p", "operator": "=", "value": None},
        {"property": "p", "operator": "=", "value": ["x"]},
        {"property": "p", "operator": "contains", "value": 3},
        {"property": "p", "operator": ">", "value": True},
        {"property": "p", "operator": "exists", "value": 1},
        {"property": "p", "operator": "~", "value": 1},
        {"property": "p", "operator": "=", "value": 10**400},
        {"property": "p", "operator": "in", "value": ["x", -(10**400)]},
        {"property": "p", "operator": ">", "value": float("nan")},
        {"property": "", "value": 1},
    ],
)
def test_a_condition_that_means_nothing_is_refused(bad: dict[str, Any]) -> None:
    with pytest.raises(ValidationError):
        PropertyFilter.model_validate(bad)


def steps(*names: str) -> tuple[FunnelStep, ...]:
    return tuple(FunnelStep(event=name) for name in names)


def test_strict_funnels_read_every_event() -> None:
    assert "event IN {names" not in funnel("acme", Funnel(steps("A", "B"), DAY, 1, order="strict")).sql


every_statement = st.sampled_from(
    [
        lambda w: event_page(w, EventFilter(DAY, event=w, profile_id=ADA), 5, None),
        lambda w: funnel(w, Funnel(steps(w or "x", "B"), DAY, 1, breakdown=(w or "x",))),
        lambda w: cohorts(w, Cohorts(DAY.start.date(), 8, w or None, w or None)),
        lambda w: outcomes(w, DAY, w or None),
        lambda w: profiles_of(w, [ADA]),
        lambda w: totals.event_count(w),
        lambda w: totals.event_totals(w, DAY.start),
        lambda w: totals.profile_totals(w, DAY.start),
        lambda w: totals.revenue_totals(w),
        lambda w: totals.consent_totals(w),
        lambda w: totals.top_countries(w),
    ]
)


@given(st.integers(-2, 2), st.sampled_from([0, 1, 500_000, 999_999, 1_000_000, 59_999_999]))
def test_outcomes_are_asked_of_the_very_minutes_that_a_period_holds(minutes: int, microseconds: int) -> None:
    bound = DAY.start + timedelta(microseconds=microseconds)
    parameters = outcomes("acme", Period(bound, bound), None).parameters
    minute = DAY.start + timedelta(minutes=minutes)
    assert (parameters["start_s"] <= minute.timestamp()) == (bound <= minute)
    assert (minute.timestamp() < parameters["end_s"]) == (minute < bound)


@given(every_statement, st.text(min_size=1, max_size=200))
def test_no_value_enters_the_text_and_every_table_is_read_by_workspace(build: Any, hostile: str) -> None:
    statement: Statement = build(hostile)
    assert statement.sql == build("other").sql
    assert statement.parameters["workspace"] == hostile
    tables = sum(
        statement.sql.count(f"FROM {table}")
        for table in ("events", "counters", "profiles", "profile_aliases", "event_outcomes")
    )
    assert statement.sql.count("workspace_id = {workspace:String}") == tables
