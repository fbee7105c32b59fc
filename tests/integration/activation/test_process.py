"""The real process between real Kafka, Postgres, ClickHouse and the stand-in, killed in the middle."""

import asyncio
import signal
from collections.abc import AsyncIterator, Iterator
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
from psycopg.types.json import Jsonb
from tests.fakes.memberships import hold
from tests.processes import CdpProcess, environment

from cdp_activation.seed import seed_local
from cdp_clickhouse.client import ClickHouse
from cdp_devstack.parts import free_ports
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.log import Outgoing, Partition
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.reader import KafkaRangeReader
from cdp_eventlog.topics import create_topics
from cdp_runtime.migrate import migrate_clickhouse
from cdp_schemas.codec import Codec, encode
from cdp_schemas.deliveries import DeliveryReported
from cdp_schemas.profiles import profile_ref
from cdp_schemas.segments import MembershipChanged
from cdp_schemas.topics import DELIVERIES_REPORTED, MEMBERSHIPS_CHANGED, all_topics

from .conftest import FACEBOOK_AUDIENCE, Pool, until

pytestmark = [pytest.mark.kafka, pytest.mark.postgres, pytest.mark.clickhouse, pytest.mark.slow]
PEOPLE = 400


async def listens(port: int, seconds: float = 90) -> None:
    """Returns when something accepts connections there; TimeoutError after the deadline."""
    async with asyncio.timeout(seconds):
        while True:
            try:
                _, writer = await asyncio.open_connection("127.0.0.1", port)
            except OSError:
                await asyncio.sleep(0.1)
            else:
                writer.close()
                return


@pytest.fixture
async def settings(kafka_url: str, migrated: str, clickhouse_url: str, tmp_path: Path) -> AsyncIterator[dict[str, str]]:
    await migrate_clickhouse(clickhouse_url)
    await create_topics(Brokers(kafka_url))
    port, admin = (str(port) for port in free_ports(2))
    values = {
        "CDP_KAFKA_BOOTSTRAP_SERVERS": kafka_url,
        "CDP_POSTGRES_URL": migrated,
        "CDP_CLICKHOUSE_URL": clickhouse_url,
        "CDP_DATA_DIR": str(tmp_path),
        "CDP_STANDIN_PORT": port,
        "CDP_ACTIVATION_ALLOWED_HOSTS": f"127.0.0.1:{port}",
        "CDP_ADMIN_PORT": admin,
    }
    local = environment(**{**values, "CDP_ADMIN_PORT": "0"})
    platforms = CdpProcess(("run-local", "platforms"), local, tmp_path / "platforms.log")
    platforms.start()
    await listens(int(port))
    yield values
    await asyncio.to_thread(platforms.end, signal.SIGTERM)


async def store_profiles(url: str, workspace: str, ids: list[UUID]) -> None:
    store = ClickHouse(url)
    now = int(datetime.now(UTC).timestamp() * 1000)
    count = len(ids)
    names = ("workspace_id", "profile_id", "version", "deleted", "created_at", "updated_at", "first_seen", "last_seen")
    columns: list[Any] = [[workspace] * count, ids, [1] * count, [0] * count, *[[now] * count for _ in range(4)]]
    identifiers = [{"email": [f"p{n}@example.com"], "user_id": [f"u{n}"]} for n in range(count)]
    traits = [{"firstName": "Ada", "address": {"city": "London"}}] * count
    await store.insert(
        "profiles",
        [*names, "identifiers", "traits", "consent"],
        [*columns, identifiers, traits, [{}] * count],
        token=str(uuid4()),
    )
    await store.stop()


def entered(workspace: str, profile_id: UUID) -> Outgoing:
    message = MembershipChanged(workspace, "segment-p", 1, profile_id, "entered", 1, datetime.now(UTC))
    return Outgoing(MEMBERSHIPS_CHANGED, f"{workspace}|{profile_id}".encode(), encode(message.alone()))


async def commit(pool: Pool, workspace: str, ids: list[UUID]) -> None:
    """As the segmenter does before it tells of them."""
    async with pool.connection() as connection:
        for profile_id in ids:
            await hold(connection, workspace, "segment-p", profile_id)


@pytest.fixture
def process(settings: dict[str, str], tmp_path: Path) -> Iterator[CdpProcess]:
    process = CdpProcess(("run", "activation"), environment(**settings), tmp_path / "activation.log")
    yield process
    process.close()


async def test_a_process_killed_in_the_middle_loses_and_repeats_nothing(
    settings: dict[str, str], process: CdpProcess, pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    for name, value in settings.items():
        monkeypatch.setenv(name, value)
    await seed_local(settings["CDP_POSTGRES_URL"])
    await seed_local(settings["CDP_POSTGRES_URL"])
    audience = f"audience-{uuid4().hex[:8]}"
    async with pool.connection() as connection:
        await connection.execute("UPDATE activation.destinations SET settings = settings || '{\"batchSize\": 20}'")
        await connection.execute(
            "INSERT INTO activation.audiences (workspace_id, audience_id, name, segment_ids) "
            "VALUES ('demo', %s, %s, '{segment-p}')",
            [audience, audience],
        )
        await connection.execute(
            "INSERT INTO activation.connections (workspace_id, audience_id, destination_id, settings, active) "
            "VALUES ('demo', %s, 'destination-demo-facebook', %s, true)",
            [audience, Jsonb({"customAudienceId": FACEBOOK_AUDIENCE})],
        )
    ids = [uuid4() for _ in range(PEOPLE)]
    await store_profiles(settings["CDP_CLICKHOUSE_URL"], "demo", ids)
    await commit(pool, "demo", ids)
    process.start()
    producer = KafkaProducer(Brokers(settings["CDP_KAFKA_BOOTSTRAP_SERVERS"]), client_id="test")
    await producer.start()
    base = f"http://127.0.0.1:{settings['CDP_STANDIN_PORT']}"
    async with httpx.AsyncClient(base_url=base, timeout=10) as client:

        async def members() -> set[str]:
            answer = await client.get("/_standin/members", params={"audience": FACEBOOK_AUDIENCE})
            return {member["EXTERN_ID"] for member in answer.json()}

        async def reached(count: int) -> bool:
            return len(await members()) >= count

        await producer.publish([entered("demo", profile_id) for profile_id in ids[: PEOPLE // 2]])
        await until(lambda: reached(20), 120)
        await asyncio.to_thread(process.end, signal.SIGKILL)
        await producer.publish([entered("demo", profile_id) for profile_id in ids[PEOPLE // 2 :]])
        process.start()
        wanted = {profile_ref(profile_id) for profile_id in ids}
        await until(lambda: same(members, wanted), 120)
        ready = await client.get(f"http://127.0.0.1:{settings['CDP_ADMIN_PORT']}/readyz")
        assert ready.status_code == 200, ready.text
        metrics = (await client.get(f"http://127.0.0.1:{settings['CDP_ADMIN_PORT']}/metrics")).text
        assert 'cdp_activation_deliveries_total{operation="add",outcome="delivered"' in metrics
        await until(lambda: reported(settings["CDP_KAFKA_BOOTSTRAP_SERVERS"], set(ids)), 60)
    await producer.stop()
    assert await asyncio.to_thread(process.end, signal.SIGTERM) == 0


async def same(members: Any, wanted: set[str]) -> bool:
    return await members() == wanted


async def reported(bootstrap: str, wanted: set[UUID]) -> bool:
    reader = KafkaRangeReader(Brokers(bootstrap))
    found: set[UUID] = set()
    for number in range(all_topics()[DELIVERIES_REPORTED].partitions):
        for record in await reader.read(Partition(DELIVERIES_REPORTED, number), 0, 10_000):
            report = Codec(DeliveryReported).decode(record.value)
            if report.outcome == "delivered":
                found.add(report.profile_id)
    await reader.close()
    return wanted <= found
