"""The whole process over real Kafka: profiles-recorded in, memberships-changed out, an outage in between."""

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from aiokafka import AIOKafkaConsumer
from aiokafka.errors import GroupAuthorizationFailedError
from tests.fakes.segmenter import profile

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.log import LogUnavailable, Outgoing
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.topics import create_topics
from cdp_runtime import run
from cdp_runtime.settings import ServiceSettings
from cdp_schemas.codec import encode
from cdp_schemas.profiles import ProfilesRecorded
from cdp_schemas.segments import MembershipChanged, read_memberships
from cdp_schemas.topics import MEMBERSHIPS_CHANGED, PROFILES_RECORDED
from cdp_segmenter.adapters.postgres_outbox import PostgresOutbox
from cdp_segmenter.catalogue import Draft
from cdp_segmenter.service import Segmenter
from cdp_segmenter.settings import SegmenterSettings

from .conftest import Room

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse, pytest.mark.kafka]
ADA, BOB = profile("ada"), profile("bob")
RICH = {"field": "computed.ltv", "operator": ">", "value": 100}


async def until(seen: Callable[[], Awaitable[Any]], wanted: Callable[[Any], bool], seconds: float = 60) -> Any:
    """Polls with a deadline; the last sight is in the failure."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not wanted(found := await seen()):
        assert asyncio.get_running_loop().time() < deadline, found
        await asyncio.sleep(0.05)
    return found


async def changes_of(kafka_url: str, workspace: str, count: int) -> list[MembershipChanged]:
    """The first changes of a workspace on the topic."""
    consumer = AIOKafkaConsumer(MEMBERSHIPS_CHANGED, bootstrap_servers=kafka_url, auto_offset_reset="earliest")
    await consumer.start()
    found: list[MembershipChanged] = []
    try:
        async with asyncio.timeout(60):
            while len(found) < count:
                record = await consumer.getone()
                message = read_memberships(record.value)
                if message.workspace_id == workspace:
                    found += message.each()
    finally:
        await consumer.stop()
    return found


@pytest.fixture
async def service(kafka_url: str, segmenter_url: str, clickhouse_url: str, tmp_path: Path) -> Segmenter:
    await create_topics(Brokers(kafka_url))
    return Segmenter(
        SegmenterSettings(
            kafka_bootstrap_servers=kafka_url,
            postgres_url=segmenter_url,
            clickhouse_url=clickhouse_url,
            data_dir=tmp_path,
            segmenter_sweep_seconds=0.2,
        )
    )


async def test_a_recorded_profile_becomes_a_member_on_the_topic(room: Room, service: Segmenter, kafka_url: str) -> None:
    await service.start()
    running = asyncio.create_task(service.run())
    producer = KafkaProducer(Brokers(kafka_url), client_id="test")
    await producer.start()
    try:
        await room.desk.create(room.workspace, "segment-rich", Draft("Rich", "", "rule-based", RICH))
        await until(lambda: room.desk.get(room.workspace, "segment-rich"), lambda one: one.status == "ready")
        await room.knows(replace(ADA, ltv_minor=20_000), BOB)
        now = datetime.now(UTC)
        message = ProfilesRecorded(room.workspace, [ADA.profile_id, BOB.profile_id], now, received_at=now)
        unreadable = Outgoing(PROFILES_RECORDED, room.workspace.encode(), b"{")
        good = Outgoing(PROFILES_RECORDED, room.workspace.encode(), encode(message))
        await producer.publish([unreadable, good, good])
        (change,) = await changes_of(kafka_url, room.workspace, 1)
        assert (change.profile_id, change.change, change.sequence) == (ADA.profile_id, "entered", 1)
        assert change.received_at == now.replace(microsecond=now.microsecond)
        assert service.faults() == {}
        assert await room.members("segment-rich") == {ADA.profile_id}
    finally:
        await producer.stop()
        await service.stop()
        await asyncio.wait_for(running, 20)


async def test_a_commit_that_kafka_refuses_ends_the_process(
    service: Segmenter, kafka_url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Whoever starts it again has an intake that works; in this process Faust's would be gone for good."""

    async def refused(self: AIOKafkaConsumer, offsets: Any) -> None:
        raise GroupAuthorizationFailedError("segmenter")

    monkeypatch.setattr(AIOKafkaConsumer, "commit", refused)
    producer = KafkaProducer(Brokers(kafka_url), client_id="test")
    await producer.start()
    await producer.publish([Outgoing(PROFILES_RECORDED, b"w", b"{")])
    await producer.stop()
    assert await asyncio.wait_for(run._lifetime(service, ServiceSettings(admin_port=0)), 60) == 1


class Kept:
    """A producer that remembers."""

    def __init__(self) -> None:
        self.published: list[Outgoing] = []

    async def start(self) -> None: ...

    async def stop(self) -> None: ...

    def fault(self) -> str | None:
        return None

    async def publish(self, messages: Any) -> None:
        self.published.extend(messages)


class BrokenOnce(Kept):
    """Its first publication is not acknowledged."""

    def __init__(self) -> None:
        super().__init__()
        self._broken = True

    async def publish(self, messages: Any) -> None:
        if self._broken:
            self._broken = False
            raise LogUnavailable("the broker is away")
        await super().publish(messages)


async def test_changes_wait_in_their_order_until_the_log_has_them(room: Room) -> None:
    await room.desk.create(room.workspace, "segment-rich", Draft("Rich", "", "rule-based", RICH))
    for spent in (20_000, 0, 20_000):
        await room.knows(replace(ADA, ltv_minor=spent))
        await room.touch([ADA.profile_id])
    producer = BrokenOnce()
    outbox = PostgresOutbox(room.pool, producer)
    with pytest.raises(LogUnavailable):
        await outbox.publish_some()
    assert await outbox.size() == 3
    assert await outbox.publish_some() == 3
    told = [read_memberships(message.value) for message in producer.published]
    assert [change.sequence for message in told for change in message.changes] == [1, 2, 3]
    assert len({message.key for message in producer.published}) == 1
    assert await outbox.size() == 0


async def test_what_an_older_release_left_is_told_before_what_came_after_it(room: Room) -> None:
    await room.desk.create(room.workspace, "segment-rich", Draft("Rich", "", "rule-based", RICH))
    async with room.pool.connection() as connection:
        await connection.execute("INSERT INTO segmenter.outbox (key, message) VALUES ('older', '{}')")
    await room.knows(replace(ADA, ltv_minor=20_000))
    await room.touch([ADA.profile_id])
    producer = Kept()
    outbox = PostgresOutbox(room.pool, producer)
    assert await outbox.size() == 2
    assert await outbox.publish_some() == 2
    assert producer.published[0].key == b"older"
    (change,) = read_memberships(producer.published[1].value).each()
    assert change.segment_id == "segment-rich"
    assert await outbox.size() == 0
