"""The port of the log: records in, messages out. No word of the product's business appears here."""

from collections.abc import Mapping, Sequence
from typing import NamedTuple, Protocol


class Partition(NamedTuple):
    """One partition of a topic."""

    topic: str
    number: int


class Record(NamedTuple):
    """One message as it was read; ``timestamp_ms`` is the broker's or the producer's, milliseconds since 1970."""

    partition: Partition
    offset: int
    key: bytes | None
    value: bytes
    timestamp_ms: int


class Outgoing(NamedTuple):
    """One message to be written; without ``partition`` the key decides."""

    topic: str
    key: bytes | None
    value: bytes
    partition: int | None = None


class LogUnavailable(Exception):
    """The log did not take (or give) the messages now: offer them again after ``retry_after`` seconds.

    What was offered may or may not have been written; a reader must tolerate the repeat.
    """

    def __init__(self, reason: str, retry_after: float = 1.0) -> None:
        super().__init__(reason)
        self.retry_after = retry_after


class MessageTooLarge(ValueError):
    """A message is larger than its topic takes; it never will be taken."""


class Producer(Protocol):
    """Writes messages durably."""

    async def start(self) -> None:
        """Connects, waiting with backoff while the log is down."""

    async def stop(self) -> None:
        """Flushes what is buffered, then disconnects."""

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        """Returns when every message is acknowledged by all in-sync replicas, in order within a partition.

        Raises LogUnavailable when the log is down, its buffers are full or the time is up: then any part of
        ``messages`` may have been written. Raises MessageTooLarge before anything is sent.
        """

    def fault(self) -> str | None:
        """Why it cannot write now, in one sentence; None when it can."""


class RangeReader(Protocol):
    """Reads back a range of offsets, outside the flow of the consumer."""

    async def read(self, partition: Partition, first: int, last: int) -> list[Record]:
        """Records with ``first <= offset <= last``; offsets that retention or compaction removed are missing."""


class BatchHandler(Protocol):
    """What a consumer does with what it reads. Calls never overlap."""

    async def assigned(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int | None]:
        """Newly owned partitions -> the offset to start at; None means the group's own position, else the earliest."""

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        """Makes the effects of a batch durable. An exception stops the consumer: nothing of the batch is skipped."""

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        """These partitions now belong to another worker. An open batch was finished before."""
