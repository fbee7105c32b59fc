"""Small batches gather, lag waits for nothing, and nobody waits for long."""

import pytest

from cdp_runtime.gathering import Gathering


@pytest.mark.parametrize(
    ("items", "seconds", "pause"),
    [(1, 0.05, 0.2), (4999, 0.4, 0.8), (10, 0.25, 0.5), (5000, 0.05, 0.0), (20_000, 3.0, 0.0), (7, 9.0, 1.0)],
)
def test_the_store_is_busy_with_us_a_third_of_the_time_at_most(items: int, seconds: float, pause: float) -> None:
    assert Gathering(0.25, 5000, 1.0).wait(items, seconds) == pytest.approx(pause)
