"""A destination's rate and its members per call -> how many rows are prepared at once; a refused batch -> its rows."""

import json
from datetime import UTC, datetime
from typing import Any, cast
from uuid import UUID

import pytest
from structlog.testing import capture_logs

from cdp_activation.breaker import BreakerPolicy
from cdp_activation.bucket import TokenBucket
from cdp_activation.destinations.destination import Batch, HttpRequest, HttpResponse, Row
from cdp_activation.destinations.registry import DESTINATIONS
from cdp_activation.ledger import DestinationKey, DestinationState
from cdp_activation.line import Line, LinePorts
from cdp_activation.outcome import Misconfigured, RejectedRow, RetryLater, Throttled
from cdp_runtime.clock import SystemClock

UNUSED = cast(Any, None)


@pytest.mark.parametrize(
    ("per_second", "per_call", "rows"),
    [
        (20.0, 100, 2_000),  # while more were prepared, calls would be lost that nobody saves up
        (0.5, 100, 100),  # one call, however rarely it is made
        (50.0, 900, 9_900),  # no call of the rest of a round
        (50.0, 1_000, 10_000),
    ],
)
def test_as_many_rows_are_prepared_as_whole_calls_take_at_once(per_second: float, per_call: int, rows: int) -> None:
    state = DestinationState(DestinationKey("demo", "hook"), "webhook", {"batchSize": per_call}, {})
    bucket, policy = TokenBucket.full(per_second, 0.0), BreakerPolicy()
    line = Line(state, DESTINATIONS["webhook"], UNUSED, bucket=bucket, policy=policy, phone_region="US")
    assert line.rows_at_once(10_000) == rows
    assert line.rows_at_once(1) == 1


class Calls:
    """Refuses every call that holds the bad member; ``later`` is its answer once that one stood alone."""

    def __init__(self, later: HttpResponse) -> None:
        self._later, self._found = later, False

    async def send(self, request: HttpRequest) -> HttpResponse:
        members = [member["profileId"] for member in json.loads(request.body)["data"]["members"]]
        if self._found:
            return self._later
        self._found = members == ["p0"]
        return HttpResponse(400, {}, b"") if "p0" in members else HttpResponse(204, {}, b"")


class Directory:
    """Keeps nothing."""

    async def rest(self, *_: Any) -> None:
        return None

    async def keep_breaker(self, *_: Any) -> None:
        return None


@pytest.mark.parametrize(
    ("later", "outcome"),
    [
        (HttpResponse(429, {"retry-after": "60"}, b""), Throttled),
        (HttpResponse(502, {}, b""), RetryLater),
        (HttpResponse(400, {}, b""), Misconfigured),
    ],
)
async def test_a_pause_in_the_search_for_a_bad_row_does_not_condemn_the_others(
    later: HttpResponse, outcome: type
) -> None:
    state = DestinationState(
        DestinationKey("demo", "hook"), "webhook", {"url": "https://a.example"}, {"secret": "whsec_" + "A" * 32}
    )
    ports = LinePorts(Calls(later), cast(Any, Directory()), SystemClock())
    bucket, policy = TokenBucket.full(1000.0, 0.0), BreakerPolicy(consecutive=1000)
    line = Line(state, DESTINATIONS["webhook"], ports, bucket=bucket, policy=policy, phone_region="US")
    rows = [Row(n, UUID(int=n), 1, {"profileId": f"p{n}"}) for n in range(40)]
    batch = Batch("demo", "audience", "add", rows, datetime(2026, 11, 20, tzinfo=UTC))
    outcomes = await line.deliver(batch, line.config({}))
    assert {type(outcomes[n]) for n in range(1, 40)} == {outcome}
    assert isinstance(outcomes[0], RejectedRow) or outcome is Misconfigured


class Unread:
    """Meta, which could read one row less than it took, and does not say which."""

    async def send(self, request: HttpRequest) -> HttpResponse:
        return HttpResponse(200, {}, json.dumps({"num_received": 2, "num_invalid_entries": 1}).encode())


async def test_rows_that_a_destination_took_and_could_not_read_are_told_of() -> None:
    meta, key = DESTINATIONS["facebook_custom_audiences"], DestinationKey("demo", "meta")
    settings = {"baseUrl": "https://a.example", "apiVersion": "v26.0"}
    state = DestinationState(key, meta.entry.type, settings, {"accessToken": "token"})
    ports = LinePorts(Unread(), cast(Any, Directory()), SystemClock())
    bucket, policy = TokenBucket.full(1000.0, 0.0), BreakerPolicy()
    line = Line(state, meta, ports, bucket=bucket, policy=policy, phone_region="US")
    rows = [Row(n, UUID(int=n), 1, {"EXTERN_ID": f"p{n}"}) for n in range(2)]
    batch = Batch("demo", "audience", "add", rows, datetime(2026, 11, 20, tzinfo=UTC))
    with capture_logs() as told:
        await line.deliver(batch, line.config({"customAudienceId": "7"}))
    (warning,) = (entry["warning"] for entry in told if entry["event"] == "delivered_with_warning")
    assert "could not read 1 of 2 rows" in warning
