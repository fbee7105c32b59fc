"""The time of an event: Segment's rule where the skew can be believed, and never out of bounds."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from cdp_ingest.clocks import OFFLINE, TOLERANCE, DeviceClocks, event_times, parse_lenient, parse_time

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)


@pytest.mark.parametrize(
    ("value", "expected"),
    [
        ("2026-11-20T12:00:00Z", NOW),
        ("2026-11-20T12:00:00.000+00:00", NOW),
        ("2026-11-20T14:00:00.123456+02:00", NOW.replace(microsecond=123456)),
        ("2026-11-20T12:00:00", NOW),
        (1795176000, NOW),
        (1795176000000, NOW),
        (1795176000.5, NOW.replace(microsecond=500000)),
    ],
)
def test_rfc_3339_with_any_offset_and_epochs_are_read(value: str | float, expected: datetime) -> None:
    assert parse_time(value) == expected


@pytest.mark.parametrize(
    "value", ["2026-02-15T101:30:00.000Z", "yesterday", "2026-13-01", "0000-01-01T00:00:00Z", 1e300, -1e300]
)
def test_what_is_no_time_is_refused(value: str | float) -> None:
    with pytest.raises(ValueError):
        parse_time(value)


def test_a_time_that_leaves_the_calendar_in_utc_is_refused() -> None:
    with pytest.raises(ValueError):
        parse_time("9999-12-31T23:59:59-23:00")


def test_a_broken_sent_at_only_means_that_there_is_none() -> None:
    for raw in (b"", b"null", b'"soon"', b"{}", b"[1]", b"true"):
        assert parse_lenient(Raw(raw)) is None
    assert parse_lenient(Raw(b'"2026-11-20T12:00:00Z"')) == NOW


def test_without_a_time_of_its_own_an_event_happened_when_it_came() -> None:
    assert event_times(None, NOW - HOUR, NOW) == (NOW, "trusted")


def test_a_good_clock_is_trusted_however_old_the_event() -> None:
    years_ago = NOW - timedelta(days=2000)
    assert event_times(years_ago, NOW - timedelta(seconds=2), NOW) == (years_ago, "trusted")
    assert event_times(years_ago, None, NOW) == (years_ago, "trusted")


def test_a_clock_that_is_ahead_is_set_back() -> None:
    sent = NOW + HOUR
    assert event_times(sent - timedelta(seconds=10), sent, NOW) == (NOW - timedelta(seconds=10), "corrected")


def test_a_clock_that_is_behind_is_set_right_when_the_library_is_honest() -> None:
    sent = NOW - HOUR
    assert event_times(sent - timedelta(seconds=10), sent, NOW) == (NOW - timedelta(seconds=10), "corrected")


def test_a_phone_that_was_offline_for_two_days_keeps_its_times() -> None:
    closed = NOW - timedelta(days=2)
    happened = closed - timedelta(minutes=3)
    assert event_times(happened, closed, NOW, honest=False) == (happened, "trusted")


def test_a_phone_whose_clock_is_known_to_lag_is_corrected() -> None:
    sent = NOW - 2 * HOUR
    assert event_times(sent, sent, NOW, honest=False, usual_offset=2 * HOUR) == (NOW, "corrected")
    assert event_times(sent, sent, NOW, honest=False, usual_offset=timedelta(0)) == (sent, "trusted")


def test_a_time_that_cannot_be_is_the_arrival_and_is_flagged() -> None:
    long_ago = NOW - timedelta(days=400)
    assert event_times(long_ago, long_ago, NOW, honest=False) == (NOW, "clamped")
    assert event_times(NOW + timedelta(days=3650), NOW, NOW) == (NOW, "clamped")
    assert event_times(datetime(1, 1, 1, tzinfo=UTC), None, NOW) == (NOW, "clamped")


times = st.integers(-62_000_000_000, 253_000_000_000).map(
    lambda seconds: datetime(1970, 1, 1, tzinfo=UTC) + timedelta(seconds=seconds)
)


@given(times, st.none() | times, st.booleans(), st.none() | st.timedeltas(timedelta(0), timedelta(days=2)))
def test_no_event_lies_in_the_future_or_before_the_calendars_of_the_stores(
    original: datetime, sent_at: datetime | None, honest: bool, usual: timedelta | None
) -> None:
    found = event_times(original, sent_at, NOW, honest=honest, usual_offset=usual)
    assert datetime(1970, 1, 1, tzinfo=UTC) < found.timestamp <= NOW + TOLERANCE
    assert found.timestamp.tzinfo is UTC
    if found.verdict == "trusted":
        assert found.timestamp == original


def test_a_device_is_known_after_an_hour_of_agreeing_calls() -> None:
    devices, device = DeviceClocks(), ("demo", "a1")
    assert devices.observe(device, 2 * HOUR, NOW) is None
    assert devices.observe(device, 2 * HOUR, NOW + timedelta(minutes=30)) is None
    assert devices.observe(device, 2 * HOUR + TOLERANCE, NOW + HOUR) == 2 * HOUR
    assert devices.observe(device, timedelta(seconds=1), NOW + HOUR) == timedelta(seconds=1)
    assert devices.observe(device, OFFLINE, NOW + timedelta(days=2)) is None


def test_the_oldest_devices_are_forgotten() -> None:
    devices = DeviceClocks(capacity=2)
    for name in ("a", "b", "c"):
        devices.observe(("demo", name), HOUR, NOW)
    assert devices.observe(("demo", "a"), HOUR, NOW + HOUR) is None
    assert devices.observe(("demo", "c"), HOUR, NOW + HOUR) == HOUR
