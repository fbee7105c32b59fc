"""The recorder's edge to Kafka: rebalances become claims, polls become flushes."""

from collections.abc import Mapping, Sequence

from cdp_eventlog.log import Partition, RangeReader, Record
from cdp_identity.recording.flush import Flush
from cdp_runtime import metrics
from cdp_runtime.clock import Clock


class RecorderStream:
    """A BatchHandler. Raises Stopping when the process stops while something is down, Fenced when another took over."""

    def __init__(self, flush: Flush, clock: Clock) -> None:
        self._flush, self._clock = flush, clock

    async def assigned(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int | None]:
        starts = await self._flush.claim(partitions, reader)
        return dict(starts)

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        started = self._clock.monotonic()
        await self._flush.record(batch)
        metrics.RECORDER_FLUSH_SECONDS.observe(self._clock.monotonic() - started)

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        self._flush.release(partitions)
