"""Outcome x progress x time -> what next."""

from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from cdp_activation.outcome import (
    Delivered,
    Misconfigured,
    RejectedRow,
    RetryLater,
    Throttled,
    Unauthorized,
    Unknown,
)
from cdp_activation.retry import Progress, RetryPolicy, delay, next_step

NOW = datetime(2026, 11, 20, tzinfo=UTC)
POLICY = RetryPolicy()
jitters = st.floats(0, 1, exclude_max=True)


@given(st.integers(1, 10_000), jitters)
def test_pauses_stay_within_their_bounds(attempts: int, jitter: float) -> None:
    assert timedelta(0) <= delay(attempts, jitter, POLICY) <= min(POLICY.cap, POLICY.base * 2 ** min(attempts, 20))


@given(st.integers(0, 100), st.integers(0, 86_400 * 3), jitters)
def test_throttling_spends_neither_attempts_nor_budget(attempts: int, failing: int, jitter: float) -> None:
    progress = Progress(attempts, NOW - timedelta(seconds=failing))
    until = NOW + timedelta(hours=2)
    step = next_step(Throttled(until), progress, NOW, jitter, POLICY)
    assert step.progress == progress and step.at == until and step.fate == "waiting"


@given(st.sampled_from([RetryLater("x"), Unknown("x")]), st.integers(0, 50), jitters)
def test_a_failure_is_tried_again_until_the_budget_is_spent(outcome, attempts: int, jitter: float) -> None:
    fresh = next_step(outcome, Progress(attempts, NOW - timedelta(hours=23)), NOW, jitter, POLICY)
    assert fresh.fate == "retrying" and fresh.at is not None and NOW <= fresh.at <= NOW + POLICY.cap
    spent = next_step(outcome, Progress(attempts, NOW - timedelta(hours=24)), NOW, jitter, POLICY)
    assert spent.fate == "gave_up" and spent.at is None


def test_a_delivery_forgets_its_failures_and_a_refused_row_ends() -> None:
    failing = Progress(7, NOW - timedelta(hours=1))
    assert next_step(Delivered(), failing, NOW, 0.5, POLICY).progress == Progress()
    refused = next_step(RejectedRow("no such phone"), failing, NOW, 0.5, POLICY)
    assert (refused.fate, refused.at, refused.error) == ("rejected", None, "no such phone")


def test_dead_credentials_and_wrong_settings_spend_nothing() -> None:
    for outcome in (Unauthorized("dead"), Misconfigured("gone")):
        step = next_step(outcome, Progress(3, NOW), NOW, 0.5, POLICY)
        assert step.fate == "waiting" and step.progress == Progress(3, NOW) and step.at is not None
