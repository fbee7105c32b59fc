"""A consumer whose broker no longer answers says so, shows no lag as if it knew one, and goes on when it is back."""

import asyncio
import os
import signal
import time
import uuid
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from cdp_devstack.background import BackgroundStack
from cdp_devstack.parts import Part
from cdp_eventlog import consumer as consumers
from cdp_eventlog import hearing
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.faust_shell import FaustShell
from cdp_eventlog.log import Outgoing, Partition, Record
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.topics import create_topics

from .test_log import PARTITIONS, Collecting, card, until

pytestmark = pytest.mark.kafka
SILENCE_SECONDS = 2.0
Pause = Callable[[], AbstractContextManager[None]]


@pytest.fixture
async def topic(brokers: Brokers, monkeypatch: pytest.MonkeyPatch) -> str:
    """With one record, and consumers that are less patient than those of production."""
    for module in (hearing, consumers):
        monkeypatch.setattr(module, "SILENCE_SECONDS", SILENCE_SECONDS)
    name = f"test-{uuid.uuid4().hex[:8]}"
    await create_topics(brokers, topics=[card(name)])
    await publish(brokers, name, b"before")
    return name


@pytest.fixture
def pause(local_parts: BackgroundStack) -> Pause:
    """A broker that keeps its connections and answers nothing."""

    @contextmanager
    def paused() -> Iterator[None]:
        os.kill(local_parts.pid(Part.KAFKA), signal.SIGSTOP)
        try:
            yield
        finally:
            os.kill(local_parts.pid(Part.KAFKA), signal.SIGCONT)

    return paused


async def publish(brokers: Brokers, topic: str, *values: bytes) -> None:
    producer = KafkaProducer(brokers, client_id="test")
    await producer.start()
    await producer.publish([Outgoing(topic, b"k", value) for value in values])
    await producer.stop()


@dataclass
class Deliberate(Collecting):
    """Takes as long over a batch as it is told to."""

    entered: asyncio.Event = field(default_factory=asyncio.Event)
    done: asyncio.Event = field(default_factory=asyncio.Event)

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        self.entered.set()
        await self.done.wait()
        await super().handle(batch)


async def notices(member: KafkaConsumer | FaustShell, topic: str, pause: Pause) -> None:
    """It has read the topic; the broker falls silent and comes back."""
    await until(lambda: member.fault() is None and sum(member.lag().values()) == 0 and len(member.lag()) == PARTITIONS)
    with pause():
        await until(lambda: f"no longer answers for {topic}/0" in (member.fault() or ""))
        assert member.lag() == {}
    await until(lambda: member.fault() is None and len(member.lag()) == PARTITIONS, 40)


async def test_a_consumer_notices_that_its_broker_is_silent(brokers: Brokers, topic: str, pause: Pause) -> None:
    handler = Collecting()
    consumer = KafkaConsumer(brokers, f"group-{topic}", [topic], handler)
    running = asyncio.create_task(consumer.run())
    await until(lambda: len(handler.seen) == 1)
    await notices(consumer, topic, pause)
    await publish(brokers, topic, b"after")
    await until(lambda: [record.value for record in handler.seen] == [b"before", b"after"])
    await consumer.stop()
    await running


async def test_so_does_a_faust_worker(brokers: Brokers, topic: str, pause: Pause, tmp_path: Path) -> None:
    seen: list[bytes] = []

    async def handle(records: Sequence[Record]) -> None:
        seen.extend(record.value for record in records)

    shell = FaustShell(f"app-{topic}", brokers, [topic], handle, data_dir=tmp_path)
    await shell.start()
    await until(lambda: seen == [b"before"], 30)
    await notices(shell, topic, pause)
    await publish(brokers, topic, b"after")
    await until(lambda: b"after" in seen, 40)
    await shell.stop()


async def test_a_consumer_that_cannot_commit_is_not_held_up_for_ever(
    brokers: Brokers, topic: str, pause: Pause
) -> None:
    handler = Deliberate()
    consumer = KafkaConsumer(brokers, f"group-{topic}", [topic], handler)
    running = asyncio.create_task(consumer.run())
    await asyncio.wait_for(handler.entered.wait(), 20)
    with pause():
        handler.done.set()
        await until(lambda: consumer.fault() is not None)
        await asyncio.wait_for(consumer.stop(), 10)
    await asyncio.wait_for(running, 40)


async def test_a_handler_that_takes_its_time_is_no_silence(brokers: Brokers, topic: str) -> None:
    """The broker is not asked for more than what waits for the handler."""
    await publish(brokers, topic, b"more", b"and more")
    handler = Deliberate()
    consumer = KafkaConsumer(brokers, f"group-{topic}", [topic], handler, max_records=1)
    running = asyncio.create_task(consumer.run())
    await asyncio.wait_for(handler.entered.wait(), 20)
    end = time.monotonic() + 1.5 * SILENCE_SECONDS
    while time.monotonic() < end:
        assert consumer.fault() is None
        await asyncio.sleep(0.05)
    handler.done.set()
    await until(lambda: len(handler.seen) == 3)
    assert consumer.fault() is None
    await consumer.stop()
    await running
