"""Outcomes of calls -> whether a destination may be called at all. Pure."""

from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Literal

from cdp_activation.outcome import Outcome, RetryLater, Throttled, Unknown

State = Literal["closed", "open", "half_open"]


@dataclass(frozen=True, slots=True)
class BreakerPolicy:
    """Opens after ``consecutive`` failed calls, or when more than half of at least ``window`` calls failed."""

    consecutive: int = 5
    window: int = 100
    first_rest: timedelta = timedelta(seconds=5)
    longest_rest: timedelta = timedelta(minutes=15)


@dataclass(frozen=True, slots=True)
class Breaker:
    """``failures`` in a row, ``failed`` of ``calls`` in the present window, ``opened`` times since the last success."""

    state: State = "closed"
    failures: int = 0
    calls: int = 0
    failed: int = 0
    opened: int = 0
    until: datetime | None = None


def may_call(breaker: Breaker, now: datetime) -> bool:
    """False only while the breaker is open and its rest is not over."""
    return breaker.state != "open" or breaker.until is None or now >= breaker.until


def before_call(breaker: Breaker, now: datetime) -> Breaker:
    """An open breaker whose rest is over lets one small trial through."""
    return replace(breaker, state="half_open") if breaker.state == "open" and may_call(breaker, now) else breaker


def after_call(breaker: Breaker, outcome: Outcome, now: datetime, policy: BreakerPolicy) -> Breaker:
    """Failures are counted, not their time; throttling is no failure and changes nothing."""
    if isinstance(outcome, Throttled):
        return breaker
    if not isinstance(outcome, RetryLater | Unknown):
        return _succeeded(breaker, policy)
    failed = replace(breaker, failures=breaker.failures + 1, calls=breaker.calls + 1, failed=breaker.failed + 1)
    too_many = failed.failures >= policy.consecutive or (
        failed.calls >= policy.window and failed.failed * 2 > failed.calls
    )
    if breaker.state == "half_open" or too_many:
        return _open(failed, now, policy)
    return failed if failed.calls < policy.window else replace(failed, calls=0, failed=0)


def _succeeded(breaker: Breaker, policy: BreakerPolicy) -> Breaker:
    if breaker.state != "closed":
        return Breaker()
    calls = breaker.calls + 1
    if calls >= policy.window and breaker.failed * 2 <= calls:
        return Breaker()
    return replace(breaker, failures=0, calls=calls, opened=0)


def _open(breaker: Breaker, now: datetime, policy: BreakerPolicy) -> Breaker:
    rest = min(policy.longest_rest, policy.first_rest * 2.0 ** min(breaker.opened, 20))
    return Breaker("open", breaker.failures, 0, 0, breaker.opened + 1, now + rest)
