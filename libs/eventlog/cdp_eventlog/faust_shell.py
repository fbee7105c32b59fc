"""A topic -> batches of each key for a plain handler, run by Faust: a thin shell without tables or web server.

Faust acknowledges what ``take`` yielded even when the block raised, so the shell takes with ``noack_take`` and
acknowledges only after the handler returned, and in the order of the log: Faust commits past a record that is not
acknowledged when it is the first. Handlers are idempotent and a sweep reconciles what a lost message would have told:
Faust's own offsets are a convenience here, not the guarantee.
"""

import asyncio
import logging
from collections import defaultdict, deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final

import faust
from faust.exceptions import ConsumerNotStarted

from cdp_eventlog import membership
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.diagnosis import refusal
from cdp_eventlog.hearing import Hearing
from cdp_eventlog.lanes import Lanes
from cdp_eventlog.log import LogUnavailable, Partition, Record
from cdp_eventlog.waiting import is_set_within

_log = logging.getLogger(__name__)
Handle = Callable[[Sequence[Record]], Awaitable[None]]
_ROOM: Final = 2000  # records taken from the log and not yet acknowledged
_LOOK_SECONDS: Final = 1.0


@dataclass(slots=True)
class _Taken:
    """A record on its way from the log to its acknowledgement."""

    record: Record
    acknowledge: Callable[[], Any]
    handled: bool = False


class FaustShell:
    """One Faust app with one agent over the topics given. Records of different keys do not wait for one another."""

    def __init__(
        self,
        name: str,
        brokers: Brokers,
        topics: Sequence[str],
        handle: Handle,
        *,
        data_dir: Path,
        max_batch: int = 200,
        within_seconds: float = 0.1,
        retry_seconds: float = 1.0,
    ) -> None:
        self._handle = handle
        self._max_batch, self._within, self._retry = max_batch, within_seconds, retry_seconds
        self._faults: dict[bytes | None, str] = {None: "not connected to Kafka yet"}
        self._next: dict[Partition, int] = {}
        self._taken: defaultdict[Partition, deque[_Taken]] = defaultdict(deque)
        self._room = asyncio.Semaphore(_ROOM)
        self._name, self._brokers = name, brokers
        self._hearing = Hearing(brokers)
        self._succession: asyncio.Task[None] | None = None
        self._stopping = asyncio.Event()
        self._app = _app(name, brokers, data_dir)
        topic = self._app.topic(*topics, value_type=bytes, value_serializer="raw", key_type=bytes, internal=False)
        self._app.agent(topic, name=f"{name}-agent", concurrency=1)(self._agent)

    async def start(self) -> None:
        """Joins the group, waiting with a pause while no broker would have us: Faust itself would give up."""
        while refused := await refusal(self._brokers):
            self._faults[None] = refused
            if await is_set_within(self._stopping, _LOOK_SECONDS):
                return
        self._app.finalize()
        self._succession = asyncio.create_task(membership.remove_dead(self._brokers, self._name))
        await self._app.start()
        self._faults.clear()

    async def run(self) -> None:
        """Until ``stop``. Raises why Faust gave up: one commit that is refused is enough, and it does not come back."""
        while not self._stopping.is_set():
            # looked for and not waited for: the event of a crash is set in a thread of Faust's, which wakes nobody here
            if self._app.crash_reason is not None:
                raise self._app.crash_reason
            if inner := self._inner():
                await self._hearing.listen(inner)
            await is_set_within(self._stopping, _LOOK_SECONDS)

    async def stop(self) -> None:
        self._stopping.set()
        if self._succession is not None:
            self._succession.cancel()
        await self._app.stop()

    def fault(self) -> str | None:
        """Why nothing is consumed now; None when it is."""
        if self._app.crashed:
            return f"the Faust worker stopped: {self._app.crash_reason}"
        inner = self._inner()
        silence = self._hearing.fault(inner) if inner else None
        return silence or next(iter(self._faults.values()), None)

    def lag(self) -> dict[Partition, int]:
        """Records behind the end of the log, per owned partition, as of the last fetch; of none that is silent."""
        lags: dict[Partition, int] = {}
        inner = self._inner()
        if inner is None:
            return lags
        consumer: Any = self._app.consumer
        silent = self._hearing.silent(inner)
        for tp in consumer.assignment():
            partition, end = Partition(tp.topic, tp.partition), consumer.highwater(tp)
            if end is not None and partition not in silent:
                # what is committed may be ahead of what was read here: another process had the partition meanwhile
                here = max(self._next.get(partition, 0), consumer._committed_offset[tp] or 0)
                waiting = sum(not taken.handled for taken in self._taken[partition])
                lags[partition] = max(0, end - here) + waiting
        return lags

    def _inner(self) -> Any:
        """Faust's aiokafka consumer. It runs in a thread of its own, which may not be there yet or not any more."""
        consumer: Any = self._app.consumer if self._app.started else None
        try:
            return consumer._thread._ensure_consumer() if consumer else None
        except ConsumerNotStarted:
            return None

    async def _agent(self, stream: Any) -> None:
        self._taken.clear()  # what an agent before this one took and did not end is read again
        self._room = asyncio.Semaphore(_ROOM)
        async with asyncio.TaskGroup() as running:
            lanes = Lanes(self._handled, running, self._max_batch)
            async for events in stream.noack_take(self._max_batch, within=self._within):
                for event in events:
                    await self._room.acquire()
                    taken = _Taken(_record(event), event.ack)
                    self._next[taken.record.partition] = taken.record.offset + 1
                    self._taken[taken.record.partition].append(taken)
                    lanes.put(taken.record.key, taken)

    async def _handled(self, key: bytes | None, batch: Sequence[_Taken]) -> None:
        await self._until_done(key, [taken.record for taken in batch])
        for taken in batch:
            taken.handled = True
        for partition in {taken.record.partition for taken in batch}:
            waiting = self._taken[partition]
            while waiting and waiting[0].handled:
                waiting.popleft().acknowledge()
                self._room.release()

    async def _until_done(self, key: bytes | None, records: Sequence[Record]) -> None:
        """Repeats a batch until its effects are durable: an outage pauses the topic, it never skips."""
        while True:
            try:
                await self._handle(records)
                self._faults.pop(key, None)
                return
            except asyncio.CancelledError:
                raise
            except Exception as error:
                pause = error.retry_after if isinstance(error, LogUnavailable) else self._retry
                self._faults[key] = f"a batch is being repeated: {error}"
                _log.exception("a batch of %d records is repeated in %.1f s", len(records), pause)
                await asyncio.sleep(pause)


def _record(event: Any) -> Record:
    message = event.message
    value = message.value if isinstance(message.value, bytes) else bytes(message.value or b"")
    key = message.key if isinstance(message.key, bytes | None) else bytes(message.key)
    return Record(
        Partition(message.topic, message.partition), message.offset, key, value, int((message.timestamp or 0) * 1000)
    )


def _app(name: str, brokers: Brokers, data_dir: Path) -> faust.App:
    servers = ";".join(f"kafka://{server}" for server in brokers.servers.split(","))
    return faust.App(
        name,
        broker=servers,
        broker_credentials=_credentials(brokers),
        broker_client_id=membership.client_id(name),
        datadir=str(data_dir / "faust"),
        store="memory://",
        web_enabled=False,
        topic_disable_leader=True,
        autodiscover=False,
        value_serializer="raw",
        key_serializer="raw",
        consumer_auto_offset_reset="earliest",
        broker_session_timeout=membership.SESSION_SECONDS,
        broker_heartbeat_interval=membership.HEARTBEAT_SECONDS,
        broker_max_poll_interval=300.0,
        stream_wait_empty=False,
        loghandlers=[],
    )


def _credentials(brokers: Brokers) -> faust.SASLCredentials | faust.SSLCredentials | None:
    if brokers.login is not None:
        login = brokers.login
        return faust.SASLCredentials(
            username=login.username, password=login.password, mechanism=login.mechanism, ssl_context=brokers.tls
        )
    return faust.SSLCredentials(brokers.tls) if brokers.tls is not None else None
