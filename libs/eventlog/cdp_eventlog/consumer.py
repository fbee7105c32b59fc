"""Kafka -> batches for a handler: positions come from the handler, an open batch is never cut by a rebalance."""

import asyncio
import logging
import time
from collections.abc import Callable, Collection, Sequence
from typing import Any

from aiokafka import AIOKafkaConsumer, ConsumerRebalanceListener, TopicPartition
from aiokafka.errors import CommitFailedError, IllegalStateError, KafkaError

from cdp_eventlog import membership
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.diagnosis import diagnose
from cdp_eventlog.hearing import SILENCE_SECONDS, Hearing
from cdp_eventlog.log import BatchHandler, Partition, Record
from cdp_eventlog.reader import KafkaRangeReader, to_record
from cdp_eventlog.waiting import is_set_within

_log = logging.getLogger(__name__)
_LAST_FETCH_SECONDS = 0.03


class KafkaConsumer:
    """Runs one BatchHandler over one consumer group.

    The handler's own store decides where to start (``assigned``); what is committed to Kafka after each batch is a
    hint for lag tools, and the start for handlers without offsets. A failed batch ends ``run`` with its error.
    """

    def __init__(
        self,
        brokers: Brokers,
        group: str,
        topics: Sequence[str],
        handler: BatchHandler,
        *,
        max_records: int = 4000,
        poll_seconds: float = 0.25,
        fetch_bytes: int = 4 * 1024 * 1024,
        gather_bytes: int = 1,
        gather: Callable[[int, float], float] | None = None,
    ) -> None:
        """With ``gather_bytes`` the broker answers when it has so much, or after 100 ms: fewer, fuller batches.

        ``gather`` tells from a batch's records and seconds how many seconds the next batch is gathered for, at most.
        One or the other: with both, the last fetch before a batch is due would still be waiting for its bytes.
        """
        self._brokers = brokers
        self._group = group
        self._topics = list(topics)
        self._handler = handler
        self._max_records = max_records
        self._poll_ms = int(poll_seconds * 1000)
        self._gather = gather
        self._due = 0.0
        self._options: dict[str, Any] = {
            "group_id": group,
            "client_id": membership.client_id(group),
            "enable_auto_commit": False,
            "auto_offset_reset": "earliest",
            "max_partition_fetch_bytes": fetch_bytes,
            "fetch_min_bytes": gather_bytes,
            "fetch_max_wait_ms": 100,
            "session_timeout_ms": round(membership.SESSION_SECONDS * 1000),
            "heartbeat_interval_ms": round(membership.HEARTBEAT_SECONDS * 1000),
            "max_poll_interval_ms": 300_000,
            "isolation_level": "read_committed",
        }
        self._consumer: AIOKafkaConsumer | None = None
        self._busy = asyncio.Lock()
        self._stopping = asyncio.Event()
        self._fault: str | None = "not connected to Kafka yet"
        self._hearing = Hearing(brokers)
        self._lag: dict[Partition, int] = {}

    async def run(self) -> None:
        """Consumes until ``stop``; connects again with a pause while the broker is down. Raises the handler's error."""
        while not self._stopping.is_set():
            try:
                await self._session()
            except (KafkaError, OSError) as error:
                self._fault = await diagnose(self._brokers, error)
                _log.warning("%s", self._fault)
                await is_set_within(self._stopping, 1.0)

    async def stop(self) -> None:
        """Lets the open batch end, then leaves the group."""
        self._stopping.set()
        async with self._busy:
            pass

    def fault(self) -> str | None:
        """Why nothing is consumed now; None when it is."""
        return self._fault or (self._hearing.fault(self._consumer) if self._consumer else None)

    def lag(self) -> dict[Partition, int]:
        """Records behind the end of the log, per owned partition, as of the last poll; of none that is silent."""
        silent = self._hearing.silent(self._consumer) if self._consumer else ()
        return {partition: records for partition, records in self._lag.items() if partition not in silent}

    async def _session(self) -> None:
        consumer = AIOKafkaConsumer(**self._brokers.options(), **self._options)
        reader = KafkaRangeReader(self._brokers)
        listener = _Listener(self, consumer, reader)
        consumer.subscribe(self._topics, listener=listener)
        self._consumer = consumer
        succession = asyncio.create_task(membership.remove_dead(self._brokers, self._group))
        try:
            await consumer.start()
            self._fault = None
            while not self._stopping.is_set():
                await self._poll(consumer, listener)
        finally:
            self._consumer = None
            self._lag = {}
            succession.cancel()
            await _close(consumer)
            await reader.close()

    async def _poll(self, consumer: AIOKafkaConsumer, listener: "_Listener") -> None:
        polled, turn = await self._gathered(consumer, listener)
        if listener.failure is not None:
            raise listener.failure
        async with self._busy:
            owned = consumer.assignment()
            batch = {
                Partition(tp.topic, tp.partition): [to_record(message) for message in messages]
                for tp, messages in polled.items()
                if tp in owned and messages and listener.turn == turn
            }
            if batch:
                await self._handled(batch)
                await self._commit(consumer, batch)
        await self._hearing.listen(consumer)
        self._measure(consumer)

    async def _gathered(
        self, consumer: AIOKafkaConsumer, listener: "_Listener"
    ) -> tuple[dict[TopicPartition, list[Any]], int]:
        """One poll, or all that comes until the next batch is due: nothing is fetched behind what was not polled.

        With it, the count of rebalances that it belongs to. After a rebalance each partition begins where its handler
        says, so what was polled before comes again. Meanwhile the broker is left alone: it would answer a fetch for
        every handful, and one fetch near the end brings them all.
        """
        found: dict[TopicPartition, list[Any]] = {}
        turn, count, wait_ms = listener.turn, 0, self._poll_ms
        while count < self._max_records and not self._stopping.is_set():
            polled = await consumer.getmany(timeout_ms=wait_ms, max_records=self._max_records - count)
            if listener.turn != turn:
                found, turn, count = {}, listener.turn, 0
            for tp, messages in polled.items():
                found.setdefault(tp, []).extend(messages)
                count += len(messages)
            left = self._due - time.monotonic()
            if not count or left <= 0 or count >= self._max_records:
                break
            if left > _LAST_FETCH_SECONDS:
                await is_set_within(self._stopping, left - _LAST_FETCH_SECONDS)
            wait_ms = max(1, int((self._due - time.monotonic()) * 1000))
        return found, turn

    async def _handled(self, batch: dict[Partition, list[Record]]) -> None:
        started = time.monotonic()
        await self._handler.handle(batch)
        if self._gather is not None:
            ended = time.monotonic()
            self._due = ended + self._gather(sum(map(len, batch.values())), ended - started)

    async def _commit(self, consumer: AIOKafkaConsumer, batch: dict[Partition, list[Record]]) -> None:
        positions = {TopicPartition(*partition): records[-1].offset + 1 for partition, records in batch.items()}
        try:
            async with asyncio.timeout(SILENCE_SECONDS):  # without a coordinator it would wait for ever
                await consumer.commit(positions)
        except TimeoutError:
            _log.warning("the position was not committed, Kafka at %s does not answer", self._brokers)
        except (CommitFailedError, IllegalStateError) as error:
            _log.info("the position was not committed, a rebalance is under way: %s", error)

    def _measure(self, consumer: AIOKafkaConsumer) -> None:
        self._fault = None
        lags: dict[Partition, int] = {}
        for tp in consumer.assignment():
            end, position = consumer.highwater(tp), consumer.last_stable_offset(tp)
            here = self._position(consumer, tp)
            if here is not None and (end is not None or position is not None):
                lags[Partition(tp.topic, tp.partition)] = max(0, (end or position or here) - here)
        self._lag = lags

    @staticmethod
    def _position(consumer: AIOKafkaConsumer, tp: TopicPartition) -> int | None:
        state = consumer._subscription.subscription.assignment.state_value(tp)
        return int(state.position) if state is not None and state.has_valid_position else None


class _Listener(ConsumerRebalanceListener):  # type: ignore[misc]
    """Hands rebalances to the handler, never in the middle of a batch."""

    def __init__(self, owner: KafkaConsumer, consumer: AIOKafkaConsumer, reader: KafkaRangeReader) -> None:
        self._owner, self._consumer, self._reader = owner, consumer, reader
        self.failure: BaseException | None = None
        self.turn = 0  # counts rebalances

    async def on_partitions_revoked(self, revoked: Collection[TopicPartition]) -> None:
        self.turn += 1
        async with self._owner._busy:
            if revoked:
                await self._owner._handler.revoked([Partition(tp.topic, tp.partition) for tp in revoked])

    async def on_partitions_assigned(self, assigned: Collection[TopicPartition]) -> None:
        self.turn += 1
        # nothing is fetched until the handler has said where it begins: what came before that would come twice
        self._consumer.pause(*assigned)
        async with self._owner._busy:
            partitions = sorted(Partition(tp.topic, tp.partition) for tp in assigned)
            try:
                starts = await self._owner._handler.assigned(partitions, self._reader)
            except BaseException as error:
                # aiokafka only logs what a listener raises; the poll loop must end with it
                self.failure = error
                raise
            for partition, offset in starts.items():
                if offset is not None:
                    self._consumer.seek(TopicPartition(*partition), offset)
            self._consumer.resume(*assigned)


async def _close(consumer: AIOKafkaConsumer) -> None:
    try:
        async with asyncio.timeout(10.0):
            await consumer.stop()
    except (KafkaError, OSError, TimeoutError) as error:
        _log.debug("leaving the group: %s", error)
