"""Samples over time -> how fast they rise, undisturbed by single jumps."""

from collections.abc import Sequence
from itertools import combinations
from statistics import median

Point = tuple[float, float]  # seconds, value
WARM_UP = 0.5  # of the time: caches fill, allocators find their size


def slope(points: Sequence[Point]) -> float:
    """Value per second: the median of the slopes between any two points (Theil and Sen). 0 for fewer than two."""
    slopes = [(b - a) / (till - since) for (since, a), (till, b) in combinations(points, 2) if till > since]
    return median(slopes) if slopes else 0.0


def warm(points: Sequence[Point]) -> list[Point]:
    """Without the beginning."""
    if not points:
        return []
    first, last = points[0][0], points[-1][0]
    return [point for point in points if point[0] >= first + WARM_UP * (last - first)]


def percent_per_hour(points: Sequence[Point]) -> float:
    """The slope once warm, as a share of the median. 0 for nothing."""
    chosen = warm(points)
    middle = median([value for _, value in chosen]) if chosen else 0.0
    return slope(chosen) * 3600 / middle * 100 if middle else 0.0
