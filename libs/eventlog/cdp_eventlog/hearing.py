"""A running aiokafka consumer -> the partitions that its brokers no longer tell about.

Its polls never say so: from a broker that is away they come back empty, as at the end of the log.
"""

import time
from typing import Any

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.diagnosis import refusal
from cdp_eventlog.log import Partition

SILENCE_SECONDS = 10.0  # a fetch is answered within two seconds, also where there is nothing to read


class Hearing:
    """When each assigned partition was last heard of, as far as whoever asks has seen it."""

    def __init__(self, brokers: Brokers) -> None:
        self._brokers = brokers
        self._heard: dict[Partition, tuple[int | None, float]] = {}
        self._refusal: str | None = None
        self._asked = float("-inf")

    async def listen(self, consumer: Any) -> None:
        """To be called often: time counts from the first look that heard nothing.

        Brokers that are silent are asked why: to a consumer, a login that they no longer take is silence too.
        """
        if not self.silent(consumer):
            self._refusal = None
        elif time.monotonic() - self._asked > SILENCE_SECONDS:
            self._asked = time.monotonic()
            self._refusal = await refusal(self._brokers)

    def silent(self, consumer: Any) -> set[Partition]:
        """Whatever nothing was heard of for ``SILENCE_SECONDS``."""
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
        if not silent:
            return None
        reason = f" ({self._refusal})" if self._refusal else ""
        return f"Kafka at {self._brokers} no longer answers for {', '.join(silent)}{reason}"
