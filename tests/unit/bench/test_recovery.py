"""Probes before and after a kill -> the seconds until they are as quick as before."""

import math

from bench.recovery import Point, recovery


def points(slow_until: float, *, last: float = 20.0) -> list[Point]:
    """One every 0.1 s that takes 50 ms; those due from 10 s until then wait for the end of the trouble."""
    made = [number / 10 for number in range(int(last * 10))]
    return [Point(at, 0.05 + (slow_until - at if 10 <= at < slow_until else 0)) for at in made]


def test_it_is_over_with_the_last_slow_probe() -> None:
    """Of 4 s of trouble the last half second is no slower than the floor of half a second."""
    assert 3.4 <= recovery(points(14.0), 10.0) <= 3.8


def test_nothing_noticed_is_no_time() -> None:
    assert recovery(points(10.0), 10.0) == 0


def test_it_is_endless_when_the_last_probe_was_slow() -> None:
    assert recovery([*points(12.0), Point(20.0, math.inf)], 10.0) == math.inf
