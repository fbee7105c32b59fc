"""Client times and the time of arrival -> the time an event happened, and how far it is to be trusted."""

from collections import OrderedDict
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Final, NamedTuple

import msgspec
from msgspec import Raw

from cdp_schemas.events import ClockVerdict

TOLERANCE: Final = timedelta(minutes=5)
OFFLINE: Final = timedelta(days=30)
_SETTLED: Final = timedelta(hours=1)
_WINDOW: Final = timedelta(days=1)
_EARLIEST: Final = datetime(1970, 1, 2, tzinfo=UTC)  # the stores' calendars begin there
_MILLISECONDS: Final = 10**11  # a bare number above this is milliseconds (in seconds it would be the year 5138)

# These set sentAt on every attempt; the mobile libraries write it once, when a file is closed, and may send days later.
HONEST_LIBRARIES: Final = frozenset(
    {
        *("analytics.js", "@segment/analytics-next", "@segment/analytics-node", "analytics-node"),
        *("analytics-python", "analytics-java", "analytics-go", "analytics-ruby"),
        *("@segment/analytics-react-native", "analytics-react-native"),
        *("RudderLabs JavaScript SDK", "rudder-analytics-python", "com.rudderstack.android.kotlin"),
    }
)


class Times(NamedTuple):
    """The time of the event, in UTC, and the verdict on the client's clock."""

    timestamp: datetime
    verdict: ClockVerdict


def parse_time(value: str | int | float) -> datetime:
    """RFC 3339 with any offset (none means UTC), or seconds or milliseconds since 1970; in UTC. Raises ValueError."""
    try:
        if isinstance(value, str):
            parsed = datetime.fromisoformat(value)
            return parsed.astimezone(UTC) if parsed.tzinfo is not None else parsed.replace(tzinfo=UTC)
        return datetime.fromtimestamp(value / 1000 if abs(value) >= _MILLISECONDS else value, UTC)
    except (OverflowError, OSError) as error:
        raise ValueError(f"{value} is no time") from error


_scalar: Final = msgspec.json.Decoder(str | int | float)


def parse_lenient(raw: Raw) -> datetime | None:
    """A raw JSON time that only helps to judge clocks: None when it is absent or cannot be read."""
    try:
        return parse_time(_scalar.decode(raw))
    except (msgspec.MsgspecError, ValueError):
        return None


def event_times(
    original: datetime | None,
    sent_at: datetime | None,
    received_at: datetime,
    *,
    honest: bool = True,
    usual_offset: timedelta | None = None,
) -> Times:
    """Segment's rule, bounded: ``receivedAt - (sentAt - originalTimestamp)`` where the skew can be believed.

    ``honest`` says that the library sets sentAt when it sends; ``usual_offset`` is what this device's clock is known to
    lag by. Without sentAt nothing speaks against the client's time.
    """
    if original is None:
        return Times(received_at, "trusted")
    if sent_at is None:
        return _bounded(original, received_at, "trusted")
    lag = received_at - sent_at
    if -TOLERANCE <= lag <= TOLERANCE:
        return _bounded(original, received_at, "trusted")
    agrees = usual_offset is not None and abs(lag - usual_offset) <= TOLERANCE
    if lag < -TOLERANCE or honest or agrees:
        return _corrected(original, lag, received_at)
    if received_at - OFFLINE <= original <= received_at + TOLERANCE:
        return Times(original, "trusted")
    return Times(received_at, "clamped")


def _corrected(original: datetime, lag: timedelta, received_at: datetime) -> Times:
    try:
        return _bounded(original + lag, received_at, "corrected")
    except OverflowError:
        return Times(received_at, "clamped")


def _bounded(time: datetime, received_at: datetime, verdict: ClockVerdict) -> Times:
    if _EARLIEST <= time <= received_at + TOLERANCE:
        return Times(time, verdict)
    return Times(received_at, "clamped")


@dataclass(slots=True)
class _Device:
    since: datetime
    least: timedelta


class DeviceClocks:
    """The least lag seen per device within a day, for at most ``capacity`` devices (the oldest are forgotten)."""

    def __init__(self, capacity: int = 20_000) -> None:
        self._capacity = capacity
        self._devices: OrderedDict[tuple[str, str], _Device] = OrderedDict()

    def observe(self, device: tuple[str, str], lag: timedelta, now: datetime) -> timedelta | None:
        """Notes one call's lag; the device's usual offset once an hour of calls agrees on it, else None."""
        seen = self._devices.get(device)
        if seen is None or now - seen.since > _WINDOW:
            self._devices[device] = _Device(now, lag)
            self._devices.move_to_end(device)
            if len(self._devices) > self._capacity:
                self._devices.popitem(last=False)
            return None
        seen.least = min(seen.least, lag)
        return seen.least if now - seen.since >= _SETTLED else None
