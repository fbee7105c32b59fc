"""How much was taken and how long its effects took -> how long to gather before the next batch."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Gathering:
    """Few large batches when busy, small ones at once when idle.

    ``interval`` seconds lie between the starts of two small batches, and never less than three times what a batch
    takes, so that its store is busy with us a third of the time at most; yet nobody waits longer than ``longest``.
    A batch of ``full`` items means lag: then nothing is waited for.
    """

    interval: float = 0.25
    full: int = 5000
    longest: float = 1.0

    def wait(self, items: int, seconds: float) -> float:
        """Seconds to gather after a batch of so many items that took so long."""
        if items >= self.full:
            return 0.0
        return min(self.longest, max(0.0, max(self.interval, 3 * seconds) - seconds))
