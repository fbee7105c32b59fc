"""Kafka over TLS and with logins: what is meant to get in does, and whoever does not is told why and no secret."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import httpx
import pytest
from aiokafka import AIOKafkaConsumer, TopicPartition
from aiokafka.errors import KafkaConnectionError

from cdp_analytics_api.adapters.kafka import KafkaEventTail
from cdp_devstack.errors import PartUnavailable
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.faust_shell import FaustShell
from cdp_eventlog.log import LogUnavailable, Outgoing, Partition, Record
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.reader import KafkaRangeReader
from cdp_eventlog.topics import create_topics
from cdp_runtime.migrate import migrate_clickhouse
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.topics import PROFILES_RECORDED
from cdp_verify.stores import LogReads
from tests.contract.eventlog.test_log import Collecting, card, consume, until
from tests.databases import fresh_database
from tests.processes import CdpProcess, environment
from tests.processes import until as waited
from tests.secured import PASSWORD, USER, Doors, SecuredKafka, login

pytestmark = pytest.mark.kafka
Told = Callable[[SecuredKafka, Doors], Brokers]
WELCOME: dict[str, Told] = {
    "PLAIN over TLS": lambda kafka, doors: Brokers(doors.sasl_ssl, kafka.tls(), login("PLAIN")),
    "SCRAM over TLS": lambda kafka, doors: Brokers(doors.sasl_ssl, kafka.tls(), login("SCRAM-SHA-512")),
    "SCRAM in clear": lambda kafka, doors: Brokers(doors.sasl_plaintext, None, login("SCRAM-SHA-512")),
    "mutual TLS": lambda kafka, doors: Brokers(doors.mutual, kafka.client()),
}
REFUSED: dict[str, tuple[Told, str]] = {
    "wrong password, PLAIN": (
        lambda kafka, doors: Brokers(doors.sasl_ssl, kafka.tls(), login("PLAIN", "canary")),
        "refuses the user name or password",
    ),
    "wrong password, SCRAM": (
        lambda kafka, doors: Brokers(doors.sasl_ssl, kafka.tls(), login("SCRAM-SHA-512", "canary")),
        "refuses the user name or password",
    ),
    "mechanism not offered": (
        lambda kafka, doors: Brokers(doors.sasl_ssl, kafka.tls(), login("SCRAM-SHA-256")),
        "does not offer the SASL mechanism SCRAM-SHA-256",
    ),
    "unknown authority": (
        lambda kafka, doors: Brokers(doors.sasl_ssl, kafka.tls(trusted=False), login("PLAIN")),
        "has a certificate that is not to be trusted: ",
    ),
    "another host's certificate": (
        lambda kafka, doors: Brokers(doors.elsewhere, kafka.tls()),
        "not to be trusted: IP address mismatch, certificate is not valid for '127.0.0.1'",
    ),
    "no certificate of ours": (
        lambda kafka, doors: Brokers(doors.mutual, kafka.tls()),
        "refuses the client's TLS or certificate: ",
    ),
    "an unknown one of ours": (
        lambda kafka, doors: Brokers(doors.mutual, kafka.client(known=False)),
        "refuses the client's TLS or certificate: ",
    ),
    "plain text to TLS": (
        lambda kafka, doors: Brokers(doors.sasl_ssl),
        "closes the connection: does its port speak PLAINTEXT?",
    ),
    "TLS to plain text": (
        lambda kafka, doors: Brokers(doors.plaintext, kafka.tls()),
        "closes the connection: does its port speak SSL?",
    ),
    "nobody to a login": (
        lambda kafka, doors: Brokers(doors.sasl_plaintext),
        "closes the connection: does its port speak PLAINTEXT?",
    ),
    "a login where there is none": (
        lambda kafka, doors: Brokers(doors.plaintext, None, login("PLAIN")),
        "takes no login at this port: does it speak SASL_PLAINTEXT?",
    ),
}


@pytest.fixture(scope="module")
def kafka() -> Iterator[SecuredKafka]:
    directory = Path(tempfile.mkdtemp(prefix="millrace-test-"))
    secured = SecuredKafka(directory)
    yield secured
    secured.stack.close()
    shutil.rmtree(directory, ignore_errors=True)


@pytest.fixture(scope="module")
def doors(kafka: SecuredKafka) -> Doors:
    """Started; like any part, one that this machine cannot run skips the tests, or fails them when CI=true."""
    try:
        return kafka.start()
    except PartUnavailable as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.mark.parametrize("way", WELCOME)
async def test_what_is_published_is_read(kafka: SecuredKafka, doors: Doors, way: str) -> None:
    brokers, topic = WELCOME[way](kafka, doors), f"test-{uuid.uuid4().hex[:8]}"
    await create_topics(brokers, topics=[card(topic)])
    producer, reader, handler = KafkaProducer(brokers, client_id="test"), KafkaRangeReader(brokers), Collecting()
    await producer.start()
    await producer.publish([Outgoing(topic, b"k", b"v", partition=1)])
    assert [record.value for record in await reader.read(Partition(topic, 1), 0, 0)] == [b"v"]
    await consume(KafkaConsumer(brokers, topic, [topic], handler), lambda: len(handler.seen) == 1)
    assert producer.fault() is None
    await reader.close()
    await producer.stop()


async def test_faust_reads_it_too(kafka: SecuredKafka, doors: Doors, tmp_path: Path) -> None:
    brokers, topic = WELCOME["mutual TLS"](kafka, doors), f"test-{uuid.uuid4().hex[:8]}"
    await create_topics(brokers, topics=[card(topic)])
    seen: list[bytes] = []

    async def handle(records: Sequence[Record]) -> None:
        seen.extend(record.value for record in records)

    shell = FaustShell(topic, brokers, [topic], handle, data_dir=tmp_path)
    await shell.start()
    producer = KafkaProducer(brokers, client_id="test")
    await producer.start()
    await producer.publish([Outgoing(topic, b"k", b"v")])
    await until(lambda: seen == [b"v"] and shell.fault() is None)
    await producer.stop()
    await shell.stop()


async def test_faust_waits_until_it_may_log_in(kafka: SecuredKafka, doors: Doors, tmp_path: Path) -> None:
    async def handle(records: Sequence[Record]) -> None:
        raise AssertionError(records)

    brokers = Brokers(doors.sasl_ssl, kafka.tls(), login("SCRAM-SHA-512", "canary"))
    shell = FaustShell("test", brokers, ["test"], handle, data_dir=tmp_path)
    starting = asyncio.create_task(shell.start())
    await until(lambda: shell.fault() == f"Kafka at {doors.sasl_ssl} refuses the user name or password")
    assert not starting.done()
    await shell.stop()
    await asyncio.wait_for(starting, 5)


async def test_who_is_refused_is_told_why(kafka: SecuredKafka, doors: Doors) -> None:
    told = await asyncio.gather(*(refusals(made(kafka, doors), words) for made, words in REFUSED.values()))
    wrong = {
        case: said
        for (case, (made, words)), both in zip(REFUSED.items(), told, strict=True)
        for said in both
        if words not in said or not said.startswith(f"Kafka at {made(kafka, doors)} ") or "canary" in said
    }
    assert wrong == {}


async def refusals(brokers: Brokers, expected: str) -> list[str]:
    """What a producer and a consumer say when they have tried for a while; both go on until they are stopped."""
    producer = KafkaProducer(brokers, client_id="test")
    consumer = KafkaConsumer(brokers, "test", ["test"], Collecting())
    working = [asyncio.create_task(producer.start()), asyncio.create_task(consumer.run())]
    clients = (producer, consumer)
    with contextlib.suppress(TimeoutError):
        await until(lambda: all(expected in (client.fault() or "") for client in clients), 15)
    with pytest.raises(LogUnavailable):
        await producer.publish([Outgoing("test", b"k", b"v")])
    said = [client.fault() or "nothing" for client in clients]
    await producer.stop()
    await consumer.stop()
    await asyncio.wait_for(asyncio.gather(*working), 10)
    return said


async def test_so_is_whoever_asks_once(kafka: SecuredKafka, doors: Doors) -> None:
    async def on_events(events: Sequence[IdentifiedEvent]) -> None:
        raise AssertionError(events)

    brokers = Brokers(doors.sasl_ssl, kafka.tls(), login("PLAIN", "canary"))
    refused = f"Kafka at {doors.sasl_ssl} refuses the user name or password"
    with pytest.raises(KafkaConnectionError, match=refused):
        await create_topics(brokers, topics=[card("test")], deadline=0)
    with pytest.raises(KafkaConnectionError, match=refused):
        await LogReads(brokers).ends(PROFILES_RECORDED)
    with pytest.raises(LogUnavailable, match=refused):
        await KafkaEventTail(brokers).follow(on_events, lambda: None)


@pytest.fixture
def settings(kafka: SecuredKafka, doors: Doors, tmp_path: Path) -> dict[str, str]:
    return environment(
        CDP_KAFKA_BOOTSTRAP_SERVERS=doors.sasl_ssl,
        CDP_KAFKA_SECURITY_PROTOCOL="SASL_SSL",
        CDP_KAFKA_SASL_MECHANISM="SCRAM-SHA-512",
        CDP_KAFKA_SASL_USERNAME=USER,
        CDP_KAFKA_SASL_PASSWORD=PASSWORD,
        CDP_KAFKA_SSL_CA_FILE=str(kafka.ca_file),
        CDP_LOG_LEVEL="debug",
        CDP_DATA_DIR=str(tmp_path),
    )


@pytest.mark.slow
@pytest.mark.postgres
@pytest.mark.clickhouse
async def test_a_whole_process_works_behind_a_login(
    settings: dict[str, str], kafka: SecuredKafka, postgres_url: str, clickhouse_url: str, tmp_path: Path
) -> None:
    """The segmenter, whose intake is Faust's, with topics that `cdp topics create` made."""
    created = CdpProcess(("topics", "create"), settings, tmp_path / "topics.log")
    created.start()
    await migrate_clickhouse(clickhouse_url)
    database = await fresh_database(postgres_url, "login_test")
    stores = {"CDP_POSTGRES_URL": database, "CDP_CLICKHOUSE_URL": clickhouse_url}
    segmenter = CdpProcess(("run", "segmenter"), settings | stores, tmp_path / "segmenter.log")
    assert await asyncio.to_thread(created.ended) == 0
    brokers = Brokers(settings["CDP_KAFKA_BOOTSTRAP_SERVERS"], kafka.tls(), login("SCRAM-SHA-512"))
    try:
        segmenter.start()
        await asyncio.to_thread(segmenter.wait_until_ready)
        producer = KafkaProducer(brokers, client_id="test")
        await producer.start()
        await producer.publish([Outgoing(PROFILES_RECORDED, b"w", b"{", partition=0)])
        await producer.stop()
        await committed(brokers, "segmenter", TopicPartition(PROFILES_RECORDED, 0), 1)
        assert await asyncio.to_thread(segmenter.end, signal.SIGTERM) == 0
    finally:
        segmenter.close()
    assert PASSWORD not in segmenter.log.read_text()


async def committed(brokers: Brokers, group: str, partition: TopicPartition, offset: int) -> None:
    """Returns when the group is there."""
    consumer = AIOKafkaConsumer(**brokers.options(), group_id=group, enable_auto_commit=False)
    consumer.assign([partition])
    await consumer.start()
    try:
        async with asyncio.timeout(20):
            while await consumer.committed(partition) != offset:
                await asyncio.sleep(0.1)
    finally:
        await consumer.stop()


def test_a_process_that_may_not_log_in_says_so(settings: dict[str, str], tmp_path: Path) -> None:
    changes = {
        "refuses the user name or password": {"CDP_KAFKA_SASL_PASSWORD": "canary-of-another"},
        "has a certificate that is not to be trusted": {"CDP_KAFKA_SSL_CA_FILE": ""},
    }
    processes = {
        said: CdpProcess(("run", "ingest"), settings | {"CDP_INGEST_PORT": "0"} | change, tmp_path / f"{said}.log")
        for said, change in changes.items()
    }
    try:
        for process in processes.values():
            process.start()
        for said, process in processes.items():
            waited(lambda process=process, said=said: said in readiness(process), 30)  # type: ignore[misc]
            assert "canary" not in readiness(process) + process.log.read_text()
            assert process.end(signal.SIGTERM) == 0
    finally:
        for process in processes.values():
            process.close()


def readiness(process: CdpProcess) -> str:
    return httpx.get(f"{process.admin}/readyz").text if process.admin else ""
