"""The log within one process: keys, partitions, groups and offsets over plain lists, for tests."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from zlib import crc32

from cdp_eventlog.log import BatchHandler, Outgoing, Partition, Record


class MemoryLog:
    """All partitions of all topics. Also a Producer and a RangeReader."""

    def __init__(self, partitions: int = 4) -> None:
        self._count = partitions
        self._records: dict[Partition, list[Record]] = defaultdict(list)
        self._grown = asyncio.Condition()
        self.committed: dict[tuple[str, Partition], int] = {}

    async def start(self) -> None:
        return None

    async def stop(self) -> None:
        return None

    def fault(self) -> str | None:
        return None

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        async with self._grown:
            for message in messages:
                number = crc32(message.key or b"") % self._count if message.partition is None else message.partition
                records = self._records[Partition(message.topic, number)]
                records.append(Record(Partition(message.topic, number), len(records), message.key, message.value, 0))
            self._grown.notify_all()

    async def read(self, partition: Partition, first: int, last: int) -> list[Record]:
        return self._records[partition][max(first, 0) : last + 1]

    def partitions(self, topic: str) -> list[Partition]:
        return [Partition(topic, number) for number in range(self._count)]

    def records(self, topic: str) -> list[Record]:
        """Every record of a topic, partition after partition."""
        return [record for partition in self.partitions(topic) for record in self._records[partition]]

    async def grown(self, timeout: float) -> None:
        """Returns when something was published, or after ``timeout`` seconds."""
        async with self._grown:
            try:
                async with asyncio.timeout(timeout):
                    await self._grown.wait()
            except TimeoutError:
                pass


class MemoryConsumer:
    """One BatchHandler over a MemoryLog, owning every partition of its topics."""

    def __init__(
        self, log: MemoryLog, group: str, topics: Sequence[str], handler: BatchHandler, *, max_records: int = 4000
    ) -> None:
        self._log, self._group, self._handler, self._max = log, group, handler, max_records
        self._partitions = [partition for topic in topics for partition in log.partitions(topic)]
        self._positions: dict[Partition, int] = {}
        self._stopping = asyncio.Event()

    async def run(self) -> None:
        """Consumes until ``stop``. Raises the handler's error."""
        await self._assign()
        while not self._stopping.is_set():
            if not await self.poll():
                await self._log.grown(0.05)

    async def drain(self) -> None:
        """Consumes all there is, then returns."""
        await self._assign()
        while await self.poll():
            pass

    async def stop(self) -> None:
        self._stopping.set()

    def fault(self) -> str | None:
        return None

    def lag(self) -> dict[Partition, int]:
        return {p: len(self._log._records[p]) - position for p, position in self._positions.items()}

    async def poll(self) -> bool:
        """Hands over one batch; False when there was nothing to read."""
        batch = await self._fetch()
        if not batch:
            return False
        await self._handler.handle(batch)
        for partition, records in batch.items():
            self._positions[partition] = records[-1].offset + 1
            self._log.committed[self._group, partition] = records[-1].offset + 1
        return True

    async def _assign(self) -> None:
        if self._positions:
            return
        starts = await self._handler.assigned(self._partitions, self._log)
        for partition in self._partitions:
            start = starts.get(partition)
            committed = self._log.committed.get((self._group, partition), 0)
            self._positions[partition] = committed if start is None else start

    async def _fetch(self) -> Mapping[Partition, Sequence[Record]]:
        batch = {}
        for partition, position in self._positions.items():
            if records := await self._log.read(partition, position, position + self._max - 1):
                batch[partition] = records
        return batch
