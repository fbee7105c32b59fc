"""Rows -> answers: exact money, honest percentages, conservation per minute."""

from __future__ import annotations

from datetime import UTC, datetime
from decimal import Decimal

from hypothesis import given
from hypothesis import strategies as st

from cdp_analytics_api import answers
from cdp_analytics_api.periods import Period
from cdp_analytics_api.queries.funnel import Funnel
from cdp_analytics_api.questions import FunnelStep

NOW = datetime(2026, 2, 15, 12, 0, tzinfo=UTC)
MINUTE = datetime(2026, 2, 15, 11, 59, tzinfo=UTC)


def overview(revenue: list[dict[str, object]]) -> answers.Overview:
    rows = answers.OverviewRows({"total": 9}, revenue, [{"purpose": "email", "granted": 1}], [])
    return answers.overview(rows, "EUR", NOW)


def test_money_is_exact_per_currency() -> None:
    shown = overview(
        [
            {"currency": "USD", "profiles": 3, "buyers": 2, "ltv_minor": 10_000, "orders": 4},
            {"currency": "JPY", "profiles": 1, "buyers": 1, "ltv_minor": 501, "orders": 1},
            {"currency": "KWD", "profiles": 2, "buyers": 1, "ltv_minor": 1_001, "orders": 1},
        ]
    )
    assert [row.average_ltv for row in shown.revenue] == [Decimal("33.33"), Decimal(501), Decimal("0.500")]
    assert (shown.average_ltv, shown.currency, shown.total_profiles) == (Decimal("33.33"), "USD", 6)
    assert shown.model_dump(mode="json", by_alias=True)["revenue"][0]["totalLtv"] == 100.0
    assert shown.consent_rate == {"email": 16.7}


def test_an_empty_workspace_has_zeros_in_its_own_currency() -> None:
    shown = overview([])
    assert (shown.average_ltv, shown.currency, shown.average_purchase_count) == (0, "EUR", 0.0)


def test_usage_balances_and_shows_minutes_that_only_the_gateway_knows() -> None:
    stamp = int(MINUTE.timestamp())
    rows = [
        {"source_id": "web", "minute_s": stamp, "outcome": "stored", "events": 7},
        {"source_id": "web", "minute_s": stamp, "outcome": "duplicate", "events": 2},
    ]
    web, ios = answers.usage(rows, {("web", MINUTE): 10, ("ios", MINUTE): 4})[::-1]
    assert (web.accepted, web.stored, web.duplicate, web.in_flight) == (10, 7, 2, 1)
    assert (ios.source_id, ios.accepted, ios.in_flight) == ("ios", 4, 4)
    (forgotten,) = answers.usage(rows, {("web", MINUTE): 3})
    assert (forgotten.accepted, forgotten.in_flight) == (9, 0), "what is decided was accepted, whoever counted it"
    unknown = answers.usage(rows, None)[0]
    assert (unknown.accepted, unknown.in_flight, unknown.stored) == (None, None, 7)


@given(st.lists(st.integers(0, 1000), min_size=2, max_size=8))
def test_a_funnel_never_gains_and_its_drop_offs_add_up(falls: list[int]) -> None:
    counts = sorted(falls, reverse=True)
    asked = Funnel(tuple(FunnelStep(event=f"step {k}") for k in range(len(counts))), Period(MINUTE, NOW), 1000)
    row = {f"reached_{k}": count for k, count in enumerate(counts, 1)}
    row |= {f"times_{k}": [1500, 2500] for k in range(2, len(counts) + 1)}  # type: ignore[dict-item]
    shown = answers.funnel_answer("f", asked, row, [], pii=True)
    assert shown.entered - sum(step.drop_off for step in shown.steps) == shown.converted
    assert all(0 <= step.conversion_rate <= 100 for step in shown.steps)
    for step in shown.steps[1:]:
        assert step.median_time_to_convert == (1.5 if step.count else None)
    assert shown.steps[0].drop_off == 0


def test_a_breakdown_value_that_is_missing_is_null() -> None:
    steps = (FunnelStep(event="a"), FunnelStep(event="b", name="second"))
    asked = Funnel(steps, Period(MINUTE, NOW), 1000, breakdown=("plan",), times=False)
    row = {"reached_1": 4, "reached_2": 1}
    shown = answers.funnel_answer(None, asked, row, [{**row, "breakdown": ""}, {**row, "breakdown": "pro"}], pii=True)
    assert [branch.value for branch in shown.breakdown or []] == [None, "pro"]
    assert [step.name for step in shown.steps] == ["a", "second"]
    assert shown.conversion_rate == 25.0
