"""The messages of many callers -> rounds: one batch per partition, one round trip for all who wait.

aiokafka's own ``send`` costs 13-16 us per message, its murmur2 in plain Python several more. Here a message costs its
bytes: while one round is on its way, what comes meanwhile gathers for the next, so a round grows with the load. Rounds
leave at least ``linger`` seconds apart: an idle log answers at once, and a busy one is not asked for every handful.
"""

import asyncio
import time
from collections.abc import Sequence
from typing import Any, Final
from zlib import crc32

from aiokafka import AIOKafkaProducer

from cdp_eventlog.log import Outgoing

_Place = tuple[str, int]
_WORTH_SENDING: Final = 256 * 1024  # bytes; such a round waits for no more
_FULL: Final = 16 * 1024 * 1024  # bytes; a round beyond that is cut, so that one request stays a bounded piece of work


class _Round:
    """The messages that travel together, and the futures of those who wait for them.

    Each caller has a future of its own: one that is cancelled must not take the others with it.
    """

    __slots__ = ("callers", "messages", "size")

    def __init__(self) -> None:
        self.messages: list[Outgoing] = []
        self.size = 0
        self.callers: list[asyncio.Future[None]] = []

    def end(self, error: Exception | None) -> None:
        for caller in self.callers:
            if caller.done():
                continue
            if error is None:
                caller.set_result(None)
            else:
                caller.set_exception(error)


class Rounds:
    """Sends rounds one after another through one producer; the first failure ends it, for all who wait."""

    def __init__(self, producer: AIOKafkaProducer, timeout: float, linger: float = 0.005) -> None:
        self._producer, self._timeout, self._linger = producer, timeout, linger
        self._next_at = 0.0
        self._waiting: list[_Round] = []
        self._sender: asyncio.Task[None] | None = None
        self._keyless = 0

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Returns when all are acknowledged. Raises what the sending raised; then any part may have been written."""
        if not self._waiting or self._waiting[-1].size > _FULL:
            self._waiting.append(_Round())
        joined = self._waiting[-1]
        joined.messages.extend(messages)
        joined.size += sum(len(message.value) for message in messages)
        acknowledged = asyncio.get_running_loop().create_future()
        joined.callers.append(acknowledged)
        if self._sender is None or self._sender.done():
            self._sender = asyncio.create_task(self._send_all())
        await acknowledged

    async def drain(self) -> None:
        """Returns when nothing is on its way."""
        if self._sender is not None:
            await asyncio.wait({self._sender})

    async def _send_all(self) -> None:
        loop = asyncio.get_running_loop()
        while self._waiting:
            pause = self._next_at - loop.time()
            if pause > 0 and self._waiting[0].size < _WORTH_SENDING:
                await asyncio.sleep(pause)
            self._next_at = loop.time() + self._linger
            current = self._waiting.pop(0)
            try:
                async with asyncio.timeout(self._timeout):
                    await self._send(current.messages)
            except BaseException as error:
                self._fail(current, error)
                if not isinstance(error, Exception):
                    raise
            else:
                current.end(None)

    def _fail(self, current: _Round, error: BaseException) -> None:
        reason = error if isinstance(error, Exception) else ConnectionError("the producer was stopped")
        for failed in (current, *self._waiting):
            failed.end(reason)
        self._waiting.clear()

    async def _send(self, messages: Sequence[Outgoing]) -> None:
        batches = self._batches(await self._by_place(messages))
        acknowledged = [
            await self._producer.send_batch(batch, topic, partition=partition) for (topic, partition), batch in batches
        ]
        await asyncio.gather(*acknowledged)

    async def _by_place(self, messages: Sequence[Outgoing]) -> dict[_Place, list[Outgoing]]:
        counts = {topic: await self._partitions(topic) for topic in {message.topic for message in messages}}
        places: dict[_Place, list[Outgoing]] = {}
        for message in messages:
            topic, key, _, partition = message
            if partition is None:
                partition = self._partition(key, counts[topic])
            places.setdefault((topic, partition), []).append(message)
        return places

    async def _partitions(self, topic: str) -> int:
        found: set[int] = await self._producer.partitions_for(topic)
        return len(found)

    def _partition(self, key: bytes | None, count: int) -> int:
        if key is None:
            self._keyless += 1
            return self._keyless % count
        return partition_of(key, count)

    def _batches(self, places: dict[_Place, list[Outgoing]]) -> list[tuple[_Place, Any]]:
        """Full and closed batches; those of one partition stay in order, the first of each partition come first."""
        now = int(time.time() * 1000)
        ranked: list[tuple[int, _Place, Any]] = []
        for place, messages in places.items():
            for rank, batch in enumerate(self._filled(messages, now)):
                ranked.append((rank, place, batch))
        ranked.sort(key=lambda entry: entry[0])
        return [(place, batch) for _, place, batch in ranked]

    def _filled(self, messages: Sequence[Outgoing], now: int) -> list[Any]:
        batches = [self._producer.create_batch()]
        for _, key, value, _ in messages:
            if batches[-1].append(timestamp=now, key=key, value=value) is None:
                batches.append(self._producer.create_batch())
                batches[-1].append(timestamp=now, key=key, value=value)
        for batch in batches:
            batch.close()
        return batches


def partition_of(key: bytes, count: int) -> int:
    """The partition of a key: CRC-32, as librdkafka's ``consistent`` partitioner has it; the same in every process."""
    return crc32(key) % count
