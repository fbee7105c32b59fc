"""Whatever the gateway makes of a client's times is among what the proof allows, and little else is."""

from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_ingest.clocks import event_times
from cdp_verify.clocks import is_time_of
from cdp_verify.times import ticks

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
AT = ticks(NOW)
SECOND, MINUTE, DAY = 1000, 60_000, 86_400_000
near = st.timedeltas(timedelta(minutes=-12), timedelta(minutes=12))
far = st.timedeltas(timedelta(days=-22_000), timedelta(days=22_000))
offsets = near | far | st.sampled_from([timedelta(minutes=5), timedelta(minutes=-5), timedelta(days=-30)])


@given(
    original=st.none() | offsets,
    lag=st.none() | offsets,
    earlier=st.lists(offsets, max_size=2),
    honest=st.booleans(),
    usual=st.none() | offsets,
)
def test_what_the_gateway_makes_of_times_is_allowed(
    original: timedelta | None,
    lag: timedelta | None,
    earlier: list[timedelta],
    honest: bool,
    usual: timedelta | None,
) -> None:
    said = None if original is None else NOW + original
    sent = None if lag is None else NOW - lag
    stored, _ = event_times(said, sent, NOW, honest=honest, usual_offset=usual)
    tries = [ticks(NOW + one) for one in earlier] if sent is not None else []
    known = [*tries, ticks(sent)] if sent is not None else []
    assert is_time_of(ticks(stored), AT, None if said is None else ticks(said), known)


@pytest.mark.parametrize(
    ("stored", "original", "sent_at"),
    [
        (AT - 3 * 60 * MINUTE, AT, [AT]),
        (AT - SECOND, AT, [AT]),
        (AT, AT - SECOND, [AT]),
        (AT - 400 * DAY, AT - 20 * DAY, []),
        (AT, AT - 20 * DAY, [AT]),  # late, and not for the client's clock
        (AT + DAY, AT + DAY, [AT]),  # nothing happens in a day from now
        (AT + 4 * MINUTE, AT + 4 * MINUTE, [AT + 60 * MINUTE]),  # a clock an hour ahead is not believed
        (AT - DAY, None, [AT - DAY]),  # without a time it is that of arrival
    ],
)
def test_a_time_that_nobody_said_is_not_allowed(stored: int, original: int | None, sent_at: list[int]) -> None:
    assert not is_time_of(stored, AT, original, sent_at)
