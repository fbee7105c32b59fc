"""Pauses grow and are capped."""

from hypothesis import given
from hypothesis import strategies as st

from cdp_runtime.backoff import Backoff


@given(st.integers(0, 10_000))
def test_a_pause_stays_between_zero_and_its_cap(attempt: int) -> None:
    assert 0 <= Backoff(0.2, 5.0).delay(attempt) <= min(5.0, 0.2 * 2.0 ** min(attempt, 30))
