"""The local stack as a whole: what the fixtures start answers, dies and comes back with its data."""

from __future__ import annotations

import subprocess
from pathlib import Path

import psutil
import psycopg
import pytest
import redis
from aiokafka import AIOKafkaConsumer, AIOKafkaProducer
from aiokafka.admin import AIOKafkaAdminClient, NewTopic
from aiokafka.structs import TopicPartition

from cdp_devstack.background import BackgroundStack
from cdp_devstack.jars import KAFKA_VERSION, cache_directory
from cdp_devstack.kafka import Kafka
from cdp_devstack.parts import Part


@pytest.mark.redis
def test_redis_answers(redis_url: str) -> None:
    client = redis.Redis.from_url(redis_url)
    client.set("a", "1")
    assert client.get("a") == b"1"


@pytest.mark.postgres
def test_postgres_is_18_and_keeps_commits_over_kill_9(postgres_url: str, local_parts: BackgroundStack) -> None:
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        assert connection.execute("SHOW server_version").fetchone()[0].startswith("18")  # type: ignore[index]
        connection.execute("CREATE TABLE kept (a int)")
        connection.execute("INSERT INTO kept SELECT generate_series(1, 1000)")
    local_parts.kill(Part.POSTGRES)
    local_parts.restart(Part.POSTGRES)
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        assert connection.execute("SELECT count(*) FROM kept").fetchone() == (1000,)
        connection.execute("DROP TABLE kept")


@pytest.mark.kafka
def test_kafka_starts_from_classes_that_the_jvm_takes(kafka_url: str, tmp_path: Path) -> None:
    argv = list(Kafka(tmp_path, 1).prepare().argv)
    assert any(option.startswith("-XX:SharedArchiveFile=") for option in argv)
    # without -Xshare:on a JVM that cannot map the archive goes on without it
    done = subprocess.run([argv[0], "-Xshare:on", *argv[1:-2], "-version"], capture_output=True, text=True, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.mark.kafka
def test_kafka_unpacks_libraries_beside_its_data_and_clears_away_what_a_kill_left(tmp_path: Path) -> None:
    own = tmp_path / "tmp"
    Kafka(tmp_path, 1).prepare()
    (own / "liblz4-java-123.so").write_text("left behind")
    argv = list(Kafka(tmp_path, 1).prepare().argv)
    assert f"-Djava.io.tmpdir={own}" in argv and own.is_dir() and not any(own.iterdir())


@pytest.mark.kafka
@pytest.mark.skipif(not psutil.LINUX, reason="other systems do not say what a process has loaded")
async def test_kafka_needs_no_room_for_the_library_of_its_first_compressed_batch(
    kafka_url: str, local_parts: BackgroundStack
) -> None:
    """A JVM that cannot unpack it on a full disk refuses every such batch until it is started again."""
    await _create("devstack-compressed", kafka_url)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, compression_type="zstd")
    await producer.start()
    await producer.send_and_wait("devstack-compressed", b"a" * 1000)
    await producer.stop()
    mapped = [library.path for library in psutil.Process(local_parts.pid(Part.KAFKA)).memory_maps()]
    kept = cache_directory() / f"kafka-{KAFKA_VERSION}" / "libzstd-jni"
    assert [path for path in mapped if "zstd" in path] == [str(kept)]


@pytest.mark.kafka
async def test_kafka_keeps_acknowledged_messages_over_kill_9(kafka_url: str, local_parts: BackgroundStack) -> None:
    await _create("devstack-kept", kafka_url)
    producer = AIOKafkaProducer(bootstrap_servers=kafka_url, acks="all", enable_idempotence=True)
    await producer.start()
    for number in range(500):
        await producer.send("devstack-kept", str(number).encode())
    await producer.flush()
    local_parts.kill(Part.KAFKA)
    local_parts.restart(Part.KAFKA)
    await producer.send_and_wait("devstack-kept", b"500")
    await producer.stop()
    partition = TopicPartition("devstack-kept", 0)
    consumer = AIOKafkaConsumer(bootstrap_servers=kafka_url, auto_offset_reset="earliest")
    await consumer.start()
    consumer.assign([partition])
    received = [(await consumer.getone()).value for _ in range(501)]
    await consumer.stop()
    assert received == [str(number).encode() for number in range(501)]


async def _create(topic: str, kafka_url: str) -> None:
    admin = AIOKafkaAdminClient(bootstrap_servers=kafka_url)
    await admin.start()
    await admin.create_topics([NewTopic(topic, 1, 1)])
    await admin.close()
