"""HTTP responses -> the parts that every destination reads alike: waiting times, JSON bodies, reasons. Pure."""

import json
from datetime import UTC, datetime, timedelta
from email.utils import parsedate_to_datetime
from typing import Any, Final

from cdp_activation.destinations.destination import HttpResponse
from cdp_activation.outcome import CallOutcome, Misconfigured, RejectedBatch, RetryLater, Throttled, Unauthorized

# a destination that asks for longer than this is asked again after it
LONGEST_WAIT: Final = timedelta(hours=24)
_LONGEST_REASON: Final = 300


def retry_after(response: HttpResponse, now: datetime, default: timedelta) -> datetime:
    """The time before which the destination wants no call: Retry-After in seconds or as a date, else the default."""
    text = response.headers.get("retry-after", "").strip()
    if not text:
        return now + default
    try:
        until = now + timedelta(seconds=min(float(text), LONGEST_WAIT.total_seconds()))
    except (ValueError, OverflowError):
        try:
            until = parsedate_to_datetime(text)
        except (TypeError, ValueError):
            return now + default
        until = until if until.tzinfo else until.replace(tzinfo=UTC)
    return min(max(until, now), now + LONGEST_WAIT)


def json_object(response: HttpResponse) -> dict[str, Any] | None:
    """The body as a JSON object; None when it is anything else, such as the page of a proxy."""
    try:
        value = json.loads(response.body)
    except (ValueError, RecursionError):
        return None
    return value if isinstance(value, dict) else None


def reason(value: Any, otherwise: str) -> str:
    """A destination's own words as Postgres and the log can keep them: without U+0000 and halves of surrogate pairs."""
    text = str(value) if isinstance(value, str | int | float) else otherwise
    return text[:_LONGEST_REASON].replace("\x00", "").encode(errors="replace").decode()


def by_status(response: HttpResponse, now: datetime, default_wait: timedelta) -> CallOutcome:
    """What a status other than 2xx means where the body does not say more."""
    said = f"HTTP {response.status}"
    match response.status:
        case 429:
            return CallOutcome(Throttled(retry_after(response, now, default_wait), said))
        case 503 if "retry-after" in response.headers:
            return CallOutcome(Throttled(retry_after(response, now, default_wait), said))
        case 401 | 403:
            return CallOutcome(Unauthorized(f"{said}: the credentials were refused"))
        case 400 | 413 | 422:
            return CallOutcome(RejectedBatch(f"{said}: the call was refused for what it holds"))
        case 404 | 405 | 410:
            return CallOutcome(Misconfigured(f"{said}: there is nothing at this address that takes the call"))
        case status if 300 <= status < 400:
            return CallOutcome(Misconfigured(f"{said}: it redirects, and redirects are not followed"))
        case 408 | 409 | 425 | 499:
            return CallOutcome(RetryLater(said))
        case status if 400 <= status < 500:
            return CallOutcome(Misconfigured(said))
    return CallOutcome(RetryLater(said))
