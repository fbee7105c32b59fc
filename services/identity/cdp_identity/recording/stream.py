"""The recorder's edge to Kafka: rebalances become claims, polls become flushes, paced by what they held."""

from collections.abc import Mapping, Sequence

from cdp_eventlog.log import Partition, RangeReader, Record
from cdp_identity.recording.flush import Flush
from cdp_identity.recording.patience import Patience
from cdp_runtime import metrics
from cdp_runtime.clock import Clock
from cdp_runtime.gathering import Gathering


class RecorderStream:
    """A BatchHandler. Raises Stopping when the process stops while something is down, Fenced when another took over."""

    def __init__(self, flush: Flush, patience: Patience, gathering: Gathering, clock: Clock) -> None:
        self._flush, self._patience, self._gathering, self._clock = flush, patience, gathering, clock

    async def assigned(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int | None]:
        starts = await self._flush.claim(partitions, reader)
        return dict(starts)

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        started = self._clock.monotonic()
        await self._flush.record(batch)
        seconds = self._clock.monotonic() - started
        metrics.RECORDER_FLUSH_SECONDS.observe(seconds)
        # what arrives meanwhile is fetched in the background and comes as one larger batch
        pause = self._gathering.wait(sum(map(len, batch.values())), seconds)
        if pause:
            await self._patience.gather(pause)

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        self._flush.release(partitions)
