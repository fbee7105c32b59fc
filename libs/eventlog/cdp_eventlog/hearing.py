"""A running aiokafka consumer -> the partitions that its brokers no longer tell about.

Its polls never say so: from a broker that is away they come back empty, as at the end of the log.
"""

import time
from typing import Any

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.log import Partition

SILENCE_SECONDS = 10.0  # a fetch is answered within two seconds, also where there is nothing to read


class Hearing:
    """When each assigned partition was last heard of, as far as whoever asks has seen it."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._heard: dict[Partition, tuple[int | None, float]] = {}

    def silent(self, consumer: Any) -> set[Partition]:
        """Whatever nothing was heard of for ``SILENCE_SECONDS``. Asked often, it is noticed in time."""
        now, heard = time.monotonic(), {}
        subscription: Any = consumer._subscription.subscription
        assignment: Any = subscription and subscription.assignment
        for tp in assignment.tps if assignment else ():
            state, partition = assignment.state_value(tp), Partition(tp.topic, tp.partition)
            answered, since = self._heard.get(partition, (None, now))
            # nothing is asked of the broker while the consumer has not taken what it answered before
            at_rest = state.paused or tp in consumer._fetcher._records
            heard[partition] = (state.timestamp, now if at_rest or state.timestamp != answered else since)
        self._heard = heard
        return {partition for partition, (_, since) in heard.items() if now - since > SILENCE_SECONDS}

    def fault(self, consumer: Any) -> str | None:
        """One sentence about what is silent."""
        silent = [f"{topic}/{number}" for topic, number in sorted(self.silent(consumer))]
        return f"Kafka at {self._brokers} no longer answers for {', '.join(silent)}" if silent else None
