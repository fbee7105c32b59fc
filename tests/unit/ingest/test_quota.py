"""A source gets its rate over time, a batch is never cut, and bytes in flight are bounded."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_ingest.quota import UNLIMITED, InFlight, Limiter, Rate
from cdp_ingest.refusals import CallRefused

RATE = Rate(per_second=10, burst=20)


def wait(limiter: Limiter, now: float, rate: Rate = RATE) -> int | None:
    try:
        limiter.check("s", rate, now)
    except CallRefused as error:
        assert error.refusal.status == 429
        return error.retry_after
    return None


def test_a_burst_is_let_in_and_its_debt_is_waited_for() -> None:
    limiter = Limiter()
    assert wait(limiter, 0.0) is None
    limiter.spend("s", RATE, 100, 0.0)
    assert wait(limiter, 0.0) == 9
    assert wait(limiter, 8.0) == 1
    assert wait(limiter, 8.2) is None


def test_the_wait_is_whole_seconds_of_at_most_five_minutes() -> None:
    limiter = Limiter()
    limiter.spend("s", RATE, 1_000_000, 0.0)
    assert wait(limiter, 0.0) == 300


@pytest.mark.parametrize("rate", [Rate(0.2, 0.4), Rate(10, 0.5)])
def test_a_rate_of_less_than_an_event_a_second_lets_one_in_at_a_time(rate: Rate) -> None:
    limiter = Limiter()
    assert wait(limiter, 0.0, rate) is None
    limiter.spend("s", rate, 1, 0.0)
    assert wait(limiter, wait(limiter, 0.0, rate) or 0.0, rate) is None


def test_no_rate_is_no_limit() -> None:
    limiter = Limiter()
    limiter.spend("s", UNLIMITED, 10**9, 0.0)
    assert wait(limiter, 0.0, UNLIMITED) is None


def test_what_other_gateways_spend_counts_too() -> None:
    limiter = Limiter()
    limiter.check("s", RATE, 0.0)
    limiter.charge("s", 40)
    limiter.charge("unknown", 40)
    assert wait(limiter, 0.0) == 3
    limiter.spend("s", RATE, 5, 0.0)
    assert limiter.take_spent() == {"s": 5}
    assert limiter.take_spent() == {}


@given(st.lists(st.tuples(st.floats(0, 2), st.integers(1, 50)), max_size=60))
def test_over_time_no_more_than_rate_burst_and_one_call_is_let_in(calls: list[tuple[float, int]]) -> None:
    limiter, now, taken, largest = Limiter(), 0.0, 0, 0
    for pause, events in calls:
        now += pause
        if wait(limiter, now) is None:
            limiter.spend("s", RATE, events, now)
            taken, largest = taken + events, max(largest, events)
    assert taken <= RATE.burst + RATE.per_second * now + largest


def test_bytes_in_flight_are_bounded_for_the_worker() -> None:
    in_flight = InFlight(100, 100)
    in_flight.reserve(80)
    with pytest.raises(CallRefused) as caught:
        in_flight.reserve(21)
    assert (caught.value.refusal.status, caught.value.retry_after) == (503, 1)
    in_flight.release(80)
    in_flight.reserve(100)
    assert in_flight.total == 100


def test_one_source_cannot_take_the_room_of_all_and_is_told_so() -> None:
    in_flight = InFlight(1000, 50)
    loud, quiet = ("demo", "loud"), ("demo", "quiet")
    in_flight.enter(loud, 40)
    with pytest.raises(CallRefused) as caught:
        in_flight.enter(loud, 40)
    assert caught.value.refusal.status == 429
    in_flight.enter(quiet, 40)
    in_flight.leave(loud, 40)
    in_flight.enter(loud, 400)  # alone, even a body larger than the share is let in
