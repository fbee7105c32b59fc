"""What many callbacks of one turn of the event loop count -> the metrics, told once when the turn is over.

A metric takes a lock for each change, and with several workers it is written into a file that they share: that costs as
much as judging an event. Those who are answered by one round of the log are answered in one turn.
"""

import asyncio
from bisect import bisect_left
from collections import Counter as Times

from prometheus_client import Counter, Histogram


class Tally:
    """The sums of this turn. The metrics have them before the bytes that the turn wrote have left for long."""

    def __init__(self) -> None:
        self._counts: dict[Counter, float] = {}
        self._seconds: dict[Histogram, list[float]] = {}

    def count(self, counter: Counter, amount: float = 1) -> None:
        """``counter.inc(amount)``, soon."""
        if not self._counts:
            asyncio.get_running_loop().call_soon(self._tell_counts)
        self._counts[counter] = self._counts.get(counter, 0) + amount

    def observe(self, histogram: Histogram, seconds: float) -> None:
        """``histogram.observe(seconds)``, soon. The histogram has no labels."""
        if not self._seconds:
            asyncio.get_running_loop().call_soon(self._tell_seconds)
        self._seconds.setdefault(histogram, []).append(seconds)

    def _tell_counts(self) -> None:
        counts, self._counts = self._counts, {}
        for counter, amount in counts.items():
            counter.inc(amount)

    def _tell_seconds(self) -> None:
        observed, self._seconds = self._seconds, {}
        for histogram, values in observed.items():
            histogram._sum.inc(sum(values))
            for index, times in Times(bisect_left(histogram._upper_bounds, value) for value in values).items():
                histogram._buckets[index].inc(times)
