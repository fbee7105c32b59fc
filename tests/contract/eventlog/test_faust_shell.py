"""The Faust shell repeats a batch until it is durable and never skips one."""

import asyncio
import uuid
from collections.abc import Sequence
from pathlib import Path

import pytest

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.faust_shell import FaustShell
from cdp_eventlog.log import LogUnavailable, Outgoing, Record
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.topics import create_topics

from .test_log import PARTITIONS, Collecting, card, until

pytestmark = pytest.mark.kafka


@pytest.fixture
async def topic(brokers: Brokers) -> str:
    name = f"test-{uuid.uuid4().hex[:8]}"
    await create_topics(brokers, topics=[card(name)])
    await publish(brokers, [Outgoing(name, b"k", b"%d" % n) for n in range(50)])
    return name


async def publish(brokers: Brokers, messages: Sequence[Outgoing]) -> None:
    producer = KafkaProducer(brokers, client_id="test")
    await producer.start()
    await producer.publish(messages)
    await producer.stop()


async def test_every_message_reaches_the_handler_and_a_failed_batch_comes_again(
    brokers: Brokers, topic: str, tmp_path: Path
) -> None:
    done: list[bytes] = []
    attempts = 0

    async def handle(records: Sequence[Record]) -> None:
        nonlocal attempts
        attempts += 1
        if attempts == 1:
            raise LogUnavailable("the store is away", retry_after=0.05)
        done.extend(record.value for record in records)

    shell = FaustShell(f"app-{topic}", brokers, [topic], handle, data_dir=tmp_path, max_batch=20)
    await shell.start()
    assert shell.lag() == {}  # its consumer is still on the way
    await until(lambda: len(done) >= 50, 30)
    assert done == [b"%d" % n for n in range(50)]
    assert shell.fault() is None
    await until(lambda: sum(shell.lag().values()) == 0 and len(shell.lag()) == PARTITIONS, 20)
    await shell.stop()


async def test_what_was_not_finished_is_read_again_by_the_next_process(
    brokers: Brokers, topic: str, tmp_path: Path
) -> None:
    entered = asyncio.Event()

    async def never(records: Sequence[Record]) -> None:
        entered.set()
        raise RuntimeError("down")

    first = FaustShell(f"app-{topic}", brokers, [topic], never, data_dir=tmp_path, retry_seconds=0.05)
    await first.start()
    async with asyncio.timeout(20):
        await entered.wait()
    assert "repeated" in (first.fault() or "")
    assert sum(first.lag().values()) == 50
    await first.stop()
    seen: list[bytes] = []

    async def handle(records: Sequence[Record]) -> None:
        seen.extend(record.value for record in records)

    second = FaustShell(f"app-{topic}", brokers, [topic], handle, data_dir=tmp_path)
    await second.start()
    await until(lambda: len(seen) >= 50, 30)
    assert seen == [b"%d" % n for n in range(50)]
    await second.stop()


async def test_a_key_whose_batch_fails_holds_no_other_up_and_comes_again(
    brokers: Brokers, topic: str, tmp_path: Path
) -> None:
    done: list[bytes] = []
    broken = True

    async def handle(records: Sequence[Record]) -> None:
        if broken and records[0].key == b"k":
            raise RuntimeError("this workspace alone")
        done.extend(record.value for record in records)

    group = f"app-{topic}"
    shell = FaustShell(group, brokers, [topic], handle, data_dir=tmp_path, retry_seconds=0.05)
    await shell.start()
    await until(lambda: shell.fault() is not None, 30)
    await publish(brokers, [Outgoing(topic, b"%d" % n, b"other %d" % n) for n in range(20)])
    await until(lambda: len(done) == 20, 20)
    assert "this workspace alone" in (shell.fault() or "")
    assert sum(shell.lag().values()) == 50
    await shell.stop()
    broken = False
    successor = FaustShell(group, brokers, [topic], handle, data_dir=tmp_path)
    await successor.start()
    await until(lambda: {b"%d" % n for n in range(50)} <= set(done), 30)
    await successor.stop()


async def test_what_another_process_did_meanwhile_is_no_lag(brokers: Brokers, topic: str, tmp_path: Path) -> None:
    done: list[bytes] = []

    async def handle(records: Sequence[Record]) -> None:
        done.extend(record.value for record in records)

    def everywhere(value: bytes) -> list[Outgoing]:
        return [Outgoing(topic, b"k", value, partition) for partition in range(PARTITIONS)]

    await publish(brokers, everywhere(b"first"))
    first, second = (FaustShell(f"app-{topic}", brokers, [topic], handle, data_dir=tmp_path) for _ in range(2))
    await first.start()
    await until(lambda: done.count(b"first") == PARTITIONS and len(first.lag()) == PARTITIONS, 30)
    await second.start()
    await until(lambda: bool(second.lag()) and len(first.lag()) + len(second.lag()) == PARTITIONS, 30)
    await publish(brokers, everywhere(b"second"))
    await until(lambda: done.count(b"second") == PARTITIONS, 30)
    await second.stop()
    await until(lambda: len(first.lag()) == PARTITIONS and sum(first.lag().values()) == 0, 30)
    await first.stop()


async def test_a_batch_consumer_of_the_same_group_goes_on_where_the_shell_ended(
    brokers: Brokers, topic: str, tmp_path: Path
) -> None:
    """What an upgrade from a Faust agent to a BatchHandler finds."""
    done: list[bytes] = []

    async def handle(records: Sequence[Record]) -> None:
        done.extend(record.value for record in records)

    group = f"app-{topic}"
    shell = FaustShell(group, brokers, [topic], handle, data_dir=tmp_path)
    await shell.start()
    await until(lambda: len(done) == 50, 30)
    handler = Collecting()
    consumer = KafkaConsumer(brokers, group, [topic], handler)
    task = asyncio.create_task(consumer.run())
    # the broker refuses the newcomer while the shell is a member: it comes again until the group is free
    await until(lambda: "rotocol" in (consumer.fault() or ""), 20)
    await shell.stop()
    await publish(brokers, [Outgoing(topic, b"k", b"new")])
    await until(lambda: b"new" in [record.value for record in handler.seen], 30)
    await consumer.stop()
    await task
    assert [record.value for record in handler.seen] == [b"new"]
