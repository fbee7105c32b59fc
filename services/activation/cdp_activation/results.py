"""Outcomes of calls -> what is written back to the ledger and reported. Pure."""

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final, get_args

from cdp_activation.destinations.destination import Cells, Operation
from cdp_activation.ledger import Claimed, ConnectionKey, Result
from cdp_activation.outcome import Delivered, Outcome, RetryLater, Unknown
from cdp_activation.plan import Reason
from cdp_activation.retry import Next, Progress
from cdp_schemas.deliveries import DeliveryOutcome, DeliveryReported

_REPORTED: Final[dict[str, DeliveryOutcome]] = {outcome: outcome for outcome in get_args(DeliveryOutcome)}
_SOONEST: Final = timedelta(seconds=0.5)
_LATEST: Final = timedelta(seconds=60)


def worst(outcomes: Sequence[Outcome]) -> Outcome:
    """Of the forms of one member: delivered only when all of them are."""
    return next((outcome for outcome in outcomes if not isinstance(outcome, Delivered)), outcomes[0])


def may_be_there(outcome: Outcome) -> bool:
    """Whether the destination may have what was sent."""
    return isinstance(outcome, Delivered | Unknown | RetryLater)


def delivered(claimed: Claimed, sent: Sequence[Cells], keys: Sequence[int] | None, fingerprint: bytes | None) -> Result:
    """The destination is as desired: with ``sent`` there, or without the member when it is empty."""
    return Result(claimed, bool(sent), sent, keys, Progress(), None, "delivered", fingerprint=fingerprint)


def held(claimed: Claimed, reason: Reason, fingerprint: bytes | None) -> Result:
    """Desired, and may not be sent: nothing happens until the profile or the list of suppressions changes."""
    return Result(claimed, False, (), None, Progress(), None, reason, fingerprint=fingerprint)


def waiting_for_profile(claimed: Claimed, keys: Sequence[int] | None, now: datetime) -> Result:
    """Looked at again soon, and the more rarely the longer it takes."""
    pause = min(max((now - claimed.changed_at) / 10, _SOONEST), _LATEST)
    reason = "the column store does not show this version of the profile yet"
    entry = claimed.entry
    sent = (entry.acknowledged, entry.sent, keys)
    return Result(claimed, *sent, claimed.progress, now + pause, "waiting", "profile_pending", reason)


def failed(claimed: Claimed, sent: Sequence[Cells], keys: Sequence[int] | None, step: Next) -> Result:
    """What a call that did not succeed leaves: ``sent`` are the forms that may be there nevertheless."""
    acknowledged = claimed.entry.acknowledged and bool(sent)
    return Result(claimed, acknowledged, sent, keys, step.progress, step.at, step.fate, step.error_class, step.error)


def report(key: ConnectionKey, result: Result, operation: Operation, now: datetime) -> DeliveryReported | None:
    """The message about a result; None for what is no news: waiting, a later attempt, a reason already told."""
    outcome = _REPORTED.get(result.outcome)
    if outcome is None or (outcome == "retrying" and result.progress.attempts > 1):
        return None
    if outcome == result.claimed.outcome and outcome in ("suppressed", "no_consent", "unmatched"):
        return None
    entry = result.claimed.entry
    return DeliveryReported(
        workspace_id=key.workspace_id,
        audience_id=key.audience_id,
        destination_id=key.destination_id,
        profile_id=entry.profile_id,
        operation=operation,
        outcome=outcome,
        attempts=result.claimed.progress.attempts + 1 if outcome == "delivered" else result.progress.attempts,
        at=now,
        error=result.error or None,
        received_at=result.claimed.received_at,
    )
