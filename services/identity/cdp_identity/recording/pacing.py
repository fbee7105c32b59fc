"""How much was read and how long a flush took -> how long to gather before the next one."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Pace:
    """Few large blocks when busy, small ones at once when idle.

    ``interval`` seconds lie between the starts of two small flushes, and never less than three times what a flush
    takes, so that the store is busy with us a third of the time at most. A batch of ``full_records`` means lag: then
    nothing is waited for.
    """

    interval: float = 0.25
    full_records: int = 5000

    def wait(self, records: int, flush_seconds: float) -> float:
        """Seconds to gather after a flush of so many records that took so long."""
        if records >= self.full_records:
            return 0.0
        return max(0.0, max(self.interval, 3 * flush_seconds) - flush_seconds)
