"""A destination's rate and its members per call -> how many rows are prepared at once."""

from typing import Any, cast

import pytest

from cdp_activation.breaker import BreakerPolicy
from cdp_activation.bucket import TokenBucket
from cdp_activation.destinations.registry import DESTINATIONS
from cdp_activation.ledger import DestinationKey, DestinationState
from cdp_activation.line import Line

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
