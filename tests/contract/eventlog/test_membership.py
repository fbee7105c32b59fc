"""Whoever takes the place of a killed process goes on at once; a living member is left alone, or comes back."""

import asyncio
import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from cdp_eventlog import membership
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.faust_shell import FaustShell
from cdp_eventlog.log import Outgoing, Partition
from cdp_eventlog.membership import client_id, is_dead
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.topics import create_topics

from .test_log import Collecting, card, until

Publish = Callable[[str], Awaitable[None]]
# a session that nobody could wait for in these tests
MEMBER = """
import asyncio, sys
from pathlib import Path
from cdp_eventlog import consumer, faust_shell, membership
from cdp_eventlog.brokers import Brokers
from tests.contract.eventlog.test_log import Collecting
membership.SESSION_SECONDS = 80.0
kind, servers, topic, data_dir = sys.argv[1:]
brokers = Brokers(servers)
class Telling(Collecting):
    async def handle(self, batch):
        print("consuming", flush=True)
async def main():
    if kind == "batches":
        await consumer.KafkaConsumer(brokers, topic, [topic], Telling()).run()
    async def handle(records):
        print("consuming", flush=True)
    await faust_shell.FaustShell(topic, brokers, [topic], handle, data_dir=Path(data_dir)).start()
    await asyncio.Event().wait()
asyncio.run(main())
"""


@pytest.fixture
async def topic(brokers: Brokers) -> str:
    name = f"test-{uuid.uuid4().hex[:8]}"
    await create_topics(brokers, topics=[card(name)])
    return name


@pytest.fixture
async def publish(brokers: Brokers, topic: str) -> AsyncIterator[Publish]:
    producer = KafkaProducer(brokers, client_id="test")
    await producer.start()

    async def one(value: str) -> None:
        await producer.publish([Outgoing(topic, value.encode(), value.encode())])

    yield one
    await producer.stop()


@contextmanager
def member(kind: str, brokers: Brokers, topic: str, data_dir: Path) -> Iterator["subprocess.Popen[bytes]"]:
    """A process that consumes the topic in a group of its name, whose session outlives the test."""
    arguments = [kind, brokers.servers, topic, str(data_dir)]
    process = subprocess.Popen([sys.executable, "-c", MEMBER, *arguments], stdout=subprocess.PIPE, cwd=Path.cwd())
    try:
        yield process
    finally:
        process.kill()
        process.wait()


async def killed_while_consuming(kind: str, brokers: Brokers, topic: str, data_dir: Path) -> None:
    with member(kind, brokers, topic, data_dir) as process:
        assert process.stdout is not None
        async with asyncio.timeout(60):
            assert await asyncio.to_thread(process.stdout.readline) == b"consuming\n"


@pytest.mark.kafka
async def test_the_successor_of_a_killed_process_does_not_wait_for_its_session(
    brokers: Brokers, topic: str, publish: Publish, tmp_path: Path
) -> None:
    await publish("before")
    await killed_while_consuming("batches", brokers, topic, tmp_path)
    handler = Collecting()
    successor = KafkaConsumer(brokers, topic, [topic], handler)
    running = asyncio.create_task(successor.run())
    await publish("after")
    await until(lambda: b"after" in [record.value for record in handler.seen], 40)
    await successor.stop()
    await running


@pytest.mark.kafka
async def test_nor_does_that_of_a_killed_faust_worker(
    brokers: Brokers, topic: str, publish: Publish, tmp_path: Path
) -> None:
    await publish("before")
    await killed_while_consuming("faust", brokers, topic, tmp_path)
    seen: list[bytes] = []

    async def handle(records: object) -> None:
        seen.extend(record.value for record in records)  # type: ignore[attr-defined]

    successor = FaustShell(topic, brokers, [topic], handle, data_dir=tmp_path)
    await successor.start()
    await publish("after")
    await until(lambda: b"after" in seen, 40)
    await successor.stop()


@pytest.mark.kafka
async def test_a_living_member_that_is_taken_for_dead_comes_back_and_nothing_is_lost(
    brokers: Brokers, topic: str, publish: Publish, monkeypatch: pytest.MonkeyPatch
) -> None:
    positions: dict[Partition, int] = {}
    handlers = [Collecting(positions), Collecting(positions)]
    first = KafkaConsumer(brokers, topic, [topic], handlers[0])
    tasks = [asyncio.create_task(first.run())]
    await publish("0")
    await until(lambda: len(handlers[0].seen) == 1)
    monkeypatch.setattr(membership, "_START", "another")  # as if the first were an earlier process with our pid
    second = KafkaConsumer(brokers, topic, [topic], handlers[1])
    tasks.append(asyncio.create_task(second.run()))
    await until(lambda: bool(first.lag()) and bool(second.lag()) and not set(first.lag()) & set(second.lag()), 30)
    for number in range(1, 30):
        await publish(str(number))
    wanted = sorted(str(number).encode() for number in range(30))
    await until(lambda: sorted(record.value for handler in handlers for record in handler.seen) == wanted)
    for consumer in (first, second):
        await consumer.stop()
    await asyncio.gather(*tasks)


def test_only_a_process_of_this_host_that_is_no_more_is_dead() -> None:
    ended = subprocess.Popen([sys.executable, "-c", ""])
    ended.wait()
    host = socket.gethostname()
    assert is_dead(f"resolver.{host}.{ended.pid}.abc", "resolver")
    assert not is_dead(f"resolver.elsewhere.{ended.pid}.abc", "resolver")
    assert not is_dead(f"recorder.{host}.{ended.pid}.abc", "resolver")
    assert not is_dead("resolver", "resolver")


def test_an_earlier_process_with_our_pid_is_dead_and_we_are_not() -> None:
    assert not is_dead(client_id("resolver"), "resolver")
    assert is_dead(f"resolver.{socket.gethostname()}.{os.getpid()}.abc", "resolver")


def test_a_process_that_is_only_stopped_is_not_dead() -> None:
    with subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE) as paused:
        paused.send_signal(signal.SIGSTOP)
        assert not is_dead(f"resolver.{socket.gethostname()}.{paused.pid}.abc", "resolver")
        paused.kill()
