"""Dates and durations as clients write them."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_analytics_api.notation import from_millis, rfc3339, to_millis
from cdp_analytics_api.periods import EPOCH, BadPeriod, Period, duration_ms, period

NOW = datetime(2026, 2, 15, 12, 0, tzinfo=UTC)


def at(text: str) -> datetime:
    return datetime.fromisoformat(text).replace(tzinfo=UTC)


@pytest.mark.parametrize(
    ("start", "end", "expected"),
    [
        ("2026-01-01", "2026-02-15", Period(at("2026-01-01"), at("2026-02-16"))),
        ("2026-01-01T10:00:00Z", "2026-01-01T10:00:00Z", Period(at("2026-01-01T10:00"), at("2026-01-01T10:00:00.001"))),
        ("2026-01-01T10:00:00+02:00", None, Period(at("2026-01-01T08:00"), at("2026-02-15T12:00:00.001"))),
        (None, "2026-02-15", Period(at("2026-02-09"), at("2026-02-16"))),
        ("2026-01-01T10:00:00", "2026-01-02", Period(at("2026-01-01T10:00"), at("2026-01-03"))),
    ],
)
def test_a_bare_date_is_its_whole_day_and_a_time_includes_itself(
    start: str | None, end: str | None, expected: Period
) -> None:
    assert period(start, end, now=NOW, default=timedelta(days=7)) == expected


def test_without_a_default_it_begins_in_1970() -> None:
    assert period(None, None, now=NOW, default=None).start == EPOCH


@pytest.mark.parametrize(
    ("start", "end", "path"),
    [
        ("2026-02-15T101:30:00.000Z", None, "startDate"),
        ("2026-02-30", None, "startDate"),
        (None, "20260215", "endDate"),
        (None, "2026-W07", "endDate"),
        (None, "soon", "endDate"),
        ("2026-02-02", "2026-02-01", "startDate"),
        ("1969-12-31", None, "startDate"),
        (None, "9999-12-31", "endDate"),
        ("0001-01-01T00:00:00+14:00", None, "startDate"),
        ("٢٠٢٦-٠١-٠١", "x", "endDate"),
    ],
)
def test_a_fault_names_its_field(start: str | None, end: str | None, path: str) -> None:
    with pytest.raises(BadPeriod) as fault:
        period(start, end, now=NOW, default=None)
    assert fault.value.path == path


@given(st.text(max_size=30), st.text(max_size=30))
def test_any_text_is_a_period_or_a_named_fault(start: str, end: str) -> None:
    try:
        chosen = period(start, end, now=NOW, default=None)
    except BadPeriod as fault:
        assert fault.path in ("startDate", "endDate")
    else:
        assert chosen.start < chosen.end


@pytest.mark.parametrize(
    ("value", "millis"),
    [(86_400, 86_400_000), ("P1D", 86_400_000), ("PT30M", 1_800_000), ("P1W", 604_800_000), (0.25, 250)],
)
def test_durations_are_iso_or_seconds(value: str | float, millis: int) -> None:
    assert duration_ms(value, "timeWindow") == millis


@pytest.mark.parametrize("value", [0, -5, "P-1D", "forever", 1e12, float("nan")])
def test_impossible_durations_name_their_field(value: str | float) -> None:
    with pytest.raises(BadPeriod) as fault:
        duration_ms(value, "timeWindow")
    assert fault.value.path == "timeWindow"


@given(st.integers(min_value=0, max_value=2_177_452_800_000))
def test_milliseconds_survive_the_way_there_and_back(millis: int) -> None:
    moment = from_millis(millis)
    assert to_millis(moment) == millis
    assert to_millis(datetime.fromisoformat(rfc3339(moment))) == millis
