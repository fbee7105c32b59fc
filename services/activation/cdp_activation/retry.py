"""Outcome, progress and time -> what happens to a delivery next. Pure."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Literal

from cdp_activation.outcome import (
    Delivered,
    Misconfigured,
    Outcome,
    RejectedBatch,
    RejectedRow,
    RetryLater,
    Throttled,
    Unauthorized,
    Unknown,
)

Fate = Literal["delivered", "rejected", "retrying", "gave_up", "waiting"]


@dataclass(frozen=True, slots=True)
class RetryPolicy:
    """Exponential with full jitter; ``budget`` is the time from the first failure until we give up."""

    base: timedelta = timedelta(seconds=2)
    cap: timedelta = timedelta(minutes=15)
    budget: timedelta = timedelta(hours=24)


@dataclass(frozen=True, slots=True)
class Progress:
    """How often a delivery has failed, and since when."""

    attempts: int = 0
    failing_since: datetime | None = None


@dataclass(frozen=True, slots=True)
class Next:
    """``at`` None means that nothing happens until the desired state or the settings change."""

    fate: Fate
    progress: Progress
    at: datetime | None = None
    error_class: str = ""
    error: str = ""


def next_step(outcome: Outcome, progress: Progress, now: datetime, jitter: float, policy: RetryPolicy) -> Next:
    """``jitter`` is uniform in [0, 1); rows of one call share it so that they are tried together again."""
    match outcome:
        case Delivered():
            return Next("delivered", Progress())
        case RejectedRow(reason):
            return Next("rejected", Progress(progress.attempts + 1, progress.failing_since or now), None, "row", reason)
        case Throttled(until, reason):
            # a deferral, not a failure: it spends no attempt and no budget
            return Next("waiting", progress, max(until, now), "throttled", reason)
        case Unauthorized(reason):
            return Next("waiting", progress, now, "unauthorized", reason)
        case Misconfigured(reason):
            return Next("waiting", progress, now, "misconfigured", reason)
        case Unknown(reason):
            return _failed("unknown", reason, progress, now, jitter, policy)
        case RetryLater(reason) | RejectedBatch(reason):
            return _failed("unavailable", reason, progress, now, jitter, policy)


def delay(attempts: int, jitter: float, policy: RetryPolicy) -> timedelta:
    """The pause before attempt ``attempts + 1`` (attempts from 1): uniform in [0, min(cap, base * 2^(attempts-1))]."""
    return min(policy.cap, policy.base * 2.0 ** min(attempts - 1, 30)) * jitter


def _failed(kind: str, reason: str, progress: Progress, now: datetime, jitter: float, policy: RetryPolicy) -> Next:
    since = progress.failing_since or now
    after = Progress(progress.attempts + 1, since)
    if now - since >= policy.budget:
        return Next("gave_up", after, None, kind, reason)
    return Next("retrying", after, now + delay(after.attempts, jitter, policy), kind, reason)
