"""Days of message ids are there before they are needed and go when they are not."""

from datetime import UTC, date, datetime, timedelta

from cdp_identity.maintenance import upkeep

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)


def days(first: int, last: int) -> list[date]:
    return [date(2026, 11, day) for day in range(first, last + 1)]


def test_a_fresh_table_gets_the_window_and_three_days_ahead() -> None:
    assert upkeep([], NOW, timedelta(hours=24)) == (days(18, 23), [])


def test_a_day_goes_when_no_message_in_it_can_be_a_duplicate_any_more() -> None:
    assert upkeep(days(15, 22), NOW, timedelta(hours=24)) == (days(23, 23), days(15, 17))
    assert upkeep(days(10, 23), NOW, timedelta(hours=168)) == ([], days(10, 11))
