"""Meta's error bodies and usage headers -> outcomes. Pure. Throttles often come as HTTP 400, so the code decides."""

import json
from datetime import datetime, timedelta
from typing import Any, Final

from cdp_activation.destinations.answers import LONGEST_WAIT, by_status, reason, retry_after
from cdp_activation.destinations.destination import HttpResponse
from cdp_activation.outcome import Misconfigured, Outcome, RejectedBatch, RetryLater, Throttled, Unauthorized

_THROTTLES: Final = frozenset({4, 17, 32, 613, *range(80000, 80015)})
_PASSING: Final = frozenset({1, 2, 341, 368, 5000, 21009})
_UNAUTHORIZED: Final = frozenset({102, 190, 10, *range(200, 300)})  # a dead token, or no permission
_BROKEN_AUDIENCE: Final = frozenset({2650, 2655, 1487301, 1487366})
_MISSING: Final = 33
_FLAGGED: Final = 1713230
_DEFAULT_WAIT: Final = timedelta(seconds=60)
_LARGEST: Final = 1e12


def failure(response: HttpResponse, answer: dict[str, Any] | None, now: datetime) -> Outcome | None:
    """The outcome of an answer that is no success; None when it is one."""
    error = answer.get("error") if answer else None
    if isinstance(error, dict):
        return _by_code(error, response, now)
    if 200 <= response.status < 300:
        return None
    if answer is None and response.status not in (413, 429):
        # of a proxy in front of Meta: its own trouble, not our call's
        return RetryLater(f"HTTP {response.status} with a page instead of an answer")
    return by_status(response, now, _DEFAULT_WAIT).whole


def rest_until(response: HttpResponse, now: datetime) -> datetime | None:
    """The pause that X-Business-Use-Case-Usage asks for: until access is regained, or a minute when all is used up."""
    usages = _usages(response)
    minutes = max((number(usage, "estimated_time_to_regain_access") for usage in usages), default=0.0)
    if minutes > 0:
        return now + min(timedelta(minutes=minutes), LONGEST_WAIT)
    spent = max(
        (number(usage, key) for usage in usages for key in ("call_count", "total_cputime", "total_time")), default=0.0
    )
    return now + _DEFAULT_WAIT if spent >= 100 else None


def _by_code(error: dict[str, Any], response: HttpResponse, now: datetime) -> Outcome:
    code, subcode = number(error, "code"), number(error, "error_subcode")
    said = f"Meta error {code:.0f}" + (f"/{subcode:.0f}" if subcode else "") + f": {_message(error)}"
    if code in _THROTTLES:
        default = (rest_until(response, now) or now + _DEFAULT_WAIT) - now
        return Throttled(retry_after(response, now, default), said)
    if code in _UNAUTHORIZED:
        return Unauthorized(said)
    if code in _PASSING or error.get("is_transient") is True or response.status >= 500:
        return RetryLater(said)
    if code in _BROKEN_AUDIENCE or (code == 100 and subcode in (_MISSING, _FLAGGED)) or response.status == 404:
        return Misconfigured(said)
    return RejectedBatch(said)


def _message(error: dict[str, Any]) -> str:
    return reason(error.get("error_user_msg") or error.get("message"), "no reason given")


def _usages(response: HttpResponse) -> list[dict[str, Any]]:
    try:
        header = json.loads(response.headers.get("x-business-use-case-usage", "{}"))
    except ValueError:
        return []
    if not isinstance(header, dict):
        return []
    return [
        usage for usages in header.values() if isinstance(usages, list) for usage in usages if isinstance(usage, dict)
    ]


def number(values: dict[str, Any], key: str) -> float:
    """0 for what is none, and nothing that a time or a count cannot be."""
    value = values.get(key)
    return max(0.0, min(value, _LARGEST)) if isinstance(value, int | float) and not isinstance(value, bool) else 0.0
