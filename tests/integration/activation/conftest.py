"""A migrated Postgres, a stand-in over HTTP and a worker between them."""

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any
from uuid import UUID, uuid4

import httpx
import pytest
import uvicorn
from psycopg.rows import dict_row
from psycopg.types.json import Jsonb
from tests.databases import front_door
from tests.fakes.activation import FakeProfileReader
from tests.fakes.memberships import hold

from cdp_activation.adapters.http import HttpCalls
from cdp_activation.adapters.postgres_directory import PostgresDirectory
from cdp_activation.adapters.postgres_following import PostgresFollowing
from cdp_activation.adapters.postgres_holdings import PostgresHoldings
from cdp_activation.adapters.postgres_ledger import PostgresLedger
from cdp_activation.adapters.postgres_outbox import PostgresOutbox
from cdp_activation.adapters.postgres_projection import PostgresProjection
from cdp_activation.adapters.postgres_sweep import PostgresSweep
from cdp_activation.adapters.sealing import FormSeal
from cdp_activation.breaker import BreakerPolicy
from cdp_activation.deliver import Deliverer
from cdp_activation.destinations.registry import checked, settings_of
from cdp_activation.keys import Keyring
from cdp_activation.ledger import Connection, DestinationKey
from cdp_activation.policies import Policies, WorkerPorts
from cdp_activation.ports import Calls
from cdp_activation.profile import Profile, profile_of
from cdp_activation.retry import RetryPolicy
from cdp_activation.ssrf import TargetPolicy
from cdp_activation.standin.app import ACCESS_TOKEN, WEBHOOK_SECRET, create_app
from cdp_activation.stream import Planner
from cdp_activation.upkeep import Upkeep
from cdp_eventlog.log import Partition, Record
from cdp_runtime.clock import SystemClock
from cdp_runtime.migrate import migrate_postgres
from cdp_runtime.postgres import Pool, open_pool
from cdp_runtime.secrets import SecretBox
from cdp_schemas.codec import encode
from cdp_schemas.events import routing_key
from cdp_schemas.profiles import ProfileUpdated
from cdp_schemas.segments import MembershipChanged
from cdp_schemas.topics import MEMBERSHIPS_CHANGED, PROFILES_UPDATED

SECRET = "a secret for tests that is long enough to be one"
FACEBOOK_AUDIENCE = "120000000000001"


@pytest.fixture(scope="session")
async def migrated(postgres_url: str) -> str:
    await migrate_postgres(postgres_url)
    return postgres_url


@pytest.fixture(scope="session")
async def pool(migrated: str) -> AsyncIterator[Pool]:
    pool = await open_pool(migrated, name="activation-tests", max_size=8)
    yield pool
    await pool.close()


@pytest.fixture
async def door(migrated: str) -> AsyncIterator[Pool]:
    """A pool as the routes have them: it shows the workspace that was entered."""
    async with front_door(migrated, name="activation-door") as pool:
        yield pool


@dataclass
class Standin:
    """A running stand-in and its control API."""

    url: str
    client: httpx.AsyncClient

    async def members(self, audience: str = FACEBOOK_AUDIENCE) -> list[dict[str, str]]:
        return (await self.client.get("/_standin/members", params={"audience": audience})).json()

    async def hooked(self, audience: str) -> list[dict[str, Any]]:
        return (await self.client.get("/_standin/webhook-members", params={"audience": audience})).json()

    async def calls(self, target: str | None = None) -> list[dict[str, Any]]:
        parameters = {"limit": 5000, **({"target": target} if target else {})}
        return (await self.client.get("/_standin/calls", params=parameters)).json()

    async def trouble(self, **asked: Any) -> None:
        (await self.client.post("/_standin/trouble", json=asked)).raise_for_status()

    async def calm(self) -> None:
        await self.client.delete("/_standin/trouble")


@asynccontextmanager
async def serving(path: Path) -> AsyncIterator[Standin]:
    listener = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listener.getsockname()[1]}"
    config = uvicorn.Config(create_app(path), log_config=None, access_log=False, lifespan="off", ws="none")
    config.timeout_graceful_shutdown = 1
    server = uvicorn.Server(config)
    server.capture_signals = _no_signals  # type: ignore[method-assign]
    task = asyncio.create_task(server.serve([listener]))
    try:
        async with httpx.AsyncClient(base_url=url, timeout=10) as client:
            yield Standin(url, client)
    finally:
        server.should_exit = True
        await task


@asynccontextmanager
async def _nothing() -> AsyncIterator[None]:
    yield


def _no_signals() -> Any:
    import contextlib

    return contextlib.nullcontext()


@pytest.fixture
async def standin(tmp_path: Path) -> AsyncIterator[Standin]:
    async with serving(tmp_path / "state.sqlite") as running:
        yield running


def records(topic: str, messages: Sequence[Any]) -> list[Record]:
    """The messages as they are read from their topic."""
    return [Record(Partition(topic, 0), at, None, encode(message), 0) for at, message in enumerate(messages)]


def told_of(changes: Sequence[MembershipChanged]) -> list[Record]:
    """The changes as they are read from memberships-changed."""
    read = zip(records(MEMBERSHIPS_CHANGED, [one.alone() for one in changes]), changes, strict=True)
    return [record._replace(key=routing_key(one.workspace_id, str(one.profile_id))) for record, one in read]


@dataclass
class World:
    """One workspace of its own: what a test does to it, and what it then asks."""

    pool: Pool
    standin: Standin
    workspace: str
    postgres_url: str
    profiles: FakeProfileReader = field(default_factory=FakeProfileReader)
    sequences: dict[tuple[str, UUID], int] = field(default_factory=dict)
    box: SecretBox = field(default_factory=lambda: SecretBox(SECRET))

    @property
    def planner(self) -> Planner:
        return Planner(PostgresProjection(self.pool), lambda: None)

    @property
    def ledger(self) -> PostgresLedger:
        return PostgresLedger(self.pool, FormSeal(self.box))

    def upkeep(self) -> Upkeep:
        return Upkeep(
            PostgresSweep(self.pool),
            PostgresFollowing(self.pool),
            self.ledger,
            PostgresOutbox(self.pool, None),  # type: ignore[arg-type]
            wake=lambda: None,
            told=asyncio.Event(),
        )

    async def destination(
        self, type_name: str = "facebook_custom_audiences", *, token: str = ACCESS_TOKEN, **settings: Any
    ) -> str:
        destination_id = f"destination-{uuid4().hex[:8]}"
        if type_name == "webhook":
            own: dict[str, Any] = {"url": f"{self.standin.url}/webhook", "requestsPerSecond": 100}
            credentials = {"secret": WEBHOOK_SECRET}
        else:
            own = {"baseUrl": self.standin.url, "requestsPerSecond": 100}
            credentials = {"accessToken": token}
        values, faults = checked(settings_of(type_name), {**own, "consentWhenUnknown": "allow", **settings})
        assert not faults
        sealed = self.box.seal(credentials, f"{self.workspace}|{destination_id}")
        await self.execute(
            "INSERT INTO activation.destinations (workspace_id, destination_id, name, type, settings, credentials) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            [self.workspace, destination_id, destination_id, type_name, Jsonb(values), sealed],
        )
        return destination_id

    async def audience(self, *destinations: str, segment: str = "segment-a", **settings: Any) -> str:
        """Active at once, in step with one segment, whose members are known."""
        audience_id = f"audience-{uuid4().hex[:8]}"
        await self.execute(
            "INSERT INTO activation.audiences (workspace_id, audience_id, name, segment_ids) VALUES (%s, %s, %s, %s)",
            [self.workspace, audience_id, audience_id, [segment]],
        )
        own = {"customAudienceId": FACEBOOK_AUDIENCE, **settings}
        for destination in destinations:
            await self.execute(
                "INSERT INTO activation.connections (workspace_id, audience_id, destination_id, settings, active, "
                "reconcile) VALUES (%s, %s, %s, %s, true, true)",
                [self.workspace, audience_id, destination, Jsonb(own)],
            )
        await self.load()
        return audience_id

    async def load(self) -> None:
        """Follows the segments that audiences use, and loads their members."""
        following = PostgresFollowing(self.pool)
        for followed in await following.follow():
            await following.load(followed)

    def person(self, name: str, *, version: int = 1, **more: Any) -> Profile:
        """A profile that the column store shows; the same name is the same profile."""
        profile_id = more.pop("profile_id", None) or UUID(bytes=name.encode().ljust(16, b"\0")[:16])
        identifiers = more.pop("identifiers", {"email": [f"{name}@example.com"], "user_id": [name]})
        profile = profile_of(profile_id, version, identifiers, more.pop("traits", {}), more.pop("consent", {}))
        self.profiles.put(self.workspace, profile)
        return profile

    async def enter(self, *profiles: Profile, segment: str = "segment-a") -> None:
        await self._change("entered", profiles, segment)

    async def exit(self, *profiles: Profile, segment: str = "segment-a") -> None:
        await self._change("exited", profiles, segment)

    async def _change(self, change: Any, profiles: Any, segment: str) -> None:
        messages = []
        for profile in profiles:
            name = (segment, profile.profile_id)
            self.sequences[name] = self.sequences.get(name, 0) + 1
            messages.append(
                MembershipChanged(
                    self.workspace, segment, 1, profile.profile_id, change, self.sequences[name], datetime.now(UTC)
                )
            )
        await self.tell(*messages)

    async def tell(self, *changes: MembershipChanged) -> None:
        """As the segmenter does it: the newest are in its table before any is told."""
        await self.commit(*changes)
        await self.planner.memberships(told_of(changes))

    async def commit(self, *changes: MembershipChanged) -> None:
        """Into the segmenter's table alone: told later, or not at all."""
        async with self.pool.connection() as connection:
            for change in changes:
                await hold(connection, change.workspace_id, change.segment_id, change.profile_id, change.sequence)

    async def update(self, profile: Profile, **more: Any) -> None:
        """profiles-updated arrives for the profile as it is in the store, or as a deleted one."""
        message = ProfileUpdated(
            self.workspace,
            profile.profile_id,
            more.pop("version", profile.version),
            datetime.now(UTC),
            identifiers={kind: list(values) for kind, values in profile.identifiers.items()},
            traits=dict(profile.traits),
            consent=dict(profile.consent),
            **more,
        )
        await self.planner.profiles(records(PROFILES_UPDATED, [message]))

    def worker(self, calls: Calls | None = None, **policies: Any) -> Deliverer:
        allowed = frozenset({self.standin.url.removeprefix("http://")})
        ports = WorkerPorts(
            PostgresDirectory(self.pool, self.box),
            self.ledger,
            self.profiles,
            calls or HttpCalls(TargetPolicy(allowed=allowed)),
            PostgresHoldings(self.postgres_url),
            SystemClock(),
            Keyring(SECRET, "US"),
        )
        patience = {
            "retry": RetryPolicy(timedelta(seconds=0.1), timedelta(seconds=0.5)),
            "breaker": BreakerPolicy(consecutive=1000),
            "poll_seconds": 0.05,
            **policies,
        }
        return Deliverer(ports, Policies(**patience))

    @asynccontextmanager
    async def working(self, calls: Calls | None = None, **policies: Any) -> AsyncIterator[Deliverer]:
        deliverer = self.worker(calls, **policies)
        task = asyncio.create_task(deliverer.run())
        try:
            yield deliverer
        finally:
            await deliverer.stop(3.0)
            await task

    async def connections(self, destination_id: str) -> Sequence[Connection]:
        """As the worker sees them."""
        return await PostgresDirectory(self.pool, self.box).connections(DestinationKey(self.workspace, destination_id))

    async def execute(self, statement: str, parameters: Any = ()) -> None:
        async with self.pool.connection() as connection:
            await connection.execute(statement, parameters)

    async def rows(self, statement: str, parameters: Any = ()) -> list[dict[str, Any]]:
        async with self.pool.connection() as connection, connection.cursor(row_factory=dict_row) as cursor:
            await cursor.execute(statement, parameters)
            return await cursor.fetchall()

    async def deliveries(self) -> dict[UUID, dict[str, Any]]:
        """By profile, where the workspace has one audience."""
        rows = await self.rows("SELECT * FROM activation.deliveries WHERE workspace_id = %s", [self.workspace])
        return {row["profile_id"]: row for row in rows}

    async def settled(self, seconds: float = 15.0) -> None:
        """Waits until nothing is pending in the workspace."""

        async def nothing_pending() -> bool:
            return not await self.rows(
                "SELECT 1 FROM activation.deliveries WHERE workspace_id = %s AND pending LIMIT 1", [self.workspace]
            )

        await until(nothing_pending, seconds)


async def until(true: Callable[[], Awaitable[bool]], seconds: float = 15.0) -> None:
    """Polls until it is true; fails at the deadline."""
    deadline = asyncio.get_running_loop().time() + seconds
    while not await true():
        assert asyncio.get_running_loop().time() < deadline, "not within the time"
        await asyncio.sleep(0.03)


@pytest.fixture
async def world(pool: Pool, standin: Standin, migrated: str) -> AsyncIterator[World]:
    world = World(pool, standin, f"ws-{uuid4().hex[:8]}", migrated)
    yield world
    own = ("deliveries", "connections", "audiences", "destinations", "memberships", "profile_floors", "told_versions")
    for table in (
        *(f"activation.{name}" for name in (*own, "followed_segments")),
        "segmenter.profile_segments",
        "segmenter.segments",
        "identity.profiles",
    ):
        await world.execute(f"DELETE FROM {table} WHERE workspace_id = %s", [world.workspace])
