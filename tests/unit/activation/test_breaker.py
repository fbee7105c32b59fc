"""When a destination may be called."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cdp_activation.breaker import Breaker, BreakerPolicy, after_call, before_call, may_call
from cdp_activation.outcome import Delivered, RetryLater, Throttled, Unknown

NOW = datetime(2026, 11, 20, tzinfo=UTC)
POLICY = BreakerPolicy()
FAILED, WORKED = RetryLater("500"), Delivered()


def after(breaker: Breaker, *outcomes) -> Breaker:
    for outcome in outcomes:
        breaker = after_call(breaker, outcome, NOW, POLICY)
    return breaker


def test_it_opens_after_failures_in_a_row_and_lets_one_trial_through() -> None:
    nearly = after(Breaker(), *[FAILED] * (POLICY.consecutive - 1))
    assert nearly.state == "closed"
    opened = after(nearly, Unknown("timeout"))
    assert opened.state == "open" and not may_call(opened, NOW)
    later = NOW + POLICY.first_rest
    assert may_call(opened, later) and before_call(opened, later).state == "half_open"
    assert after_call(before_call(opened, later), WORKED, later, POLICY) == Breaker()


def test_each_failed_trial_doubles_the_rest_up_to_a_bound() -> None:
    breaker, now, rests = after(Breaker(), *[FAILED] * 5), NOW, []
    for _ in range(12):
        assert breaker.until is not None
        rests.append(breaker.until - now)
        now = breaker.until
        breaker = after_call(before_call(breaker, now), FAILED, now, POLICY)
    assert rests[:3] == [POLICY.first_rest, POLICY.first_rest * 2, POLICY.first_rest * 4]
    assert max(rests) == POLICY.longest_rest


def test_more_than_half_of_a_hundred_failed_calls_open_it() -> None:
    breaker = Breaker()
    for n in range(99):
        breaker = after(breaker, FAILED if n % 5 < 3 else WORKED)
        assert breaker.state == "closed"
    assert after(breaker, FAILED).state == "open"


@given(st.lists(st.sampled_from(["fail", "work"]), max_size=60), st.integers(0, 60))
def test_throttling_changes_nothing(history: list[str], place: int) -> None:
    outcomes = [FAILED if item == "fail" else WORKED for item in history]
    throttled = [*outcomes[:place], Throttled(NOW + timedelta(hours=1)), *outcomes[place:]]
    assert after(Breaker(), *outcomes) == after(Breaker(), *throttled)


@given(st.lists(st.sampled_from([FAILED, WORKED]), max_size=300))
def test_an_open_breaker_always_ends(outcomes: list) -> None:
    breaker = after(Breaker(), *outcomes)
    assert breaker.state != "open" or may_call(breaker, NOW + POLICY.longest_rest)
