"""Settings and adapters -> the activation service and its part of the front door: the only place that wires."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any, Final

from cdp_activation.adapters.clickhouse_profiles import ClickHouseProfiles
from cdp_activation.adapters.http import HttpCalls
from cdp_activation.adapters.postgres_audiences import PostgresAudiences
from cdp_activation.adapters.postgres_destinations import PostgresDestinations
from cdp_activation.adapters.postgres_directory import PostgresDirectory
from cdp_activation.adapters.postgres_following import PostgresFollowing
from cdp_activation.adapters.postgres_holdings import PostgresHoldings
from cdp_activation.adapters.postgres_key import keep_key, require_same_key
from cdp_activation.adapters.postgres_ledger import PostgresLedger
from cdp_activation.adapters.postgres_outbox import PostgresOutbox
from cdp_activation.adapters.postgres_projection import PostgresProjection
from cdp_activation.adapters.postgres_suppressions import PostgresSuppressions
from cdp_activation.adapters.postgres_sweep import PostgresSweep
from cdp_activation.adapters.sealing import FormSeal
from cdp_activation.breaker import BreakerPolicy
from cdp_activation.deliver import Deliverer
from cdp_activation.guard import GuardPolicy
from cdp_activation.keys import Keyring
from cdp_activation.policies import Policies, WorkerPorts
from cdp_activation.retry import RetryPolicy
from cdp_activation.settings import ActivationSettings
from cdp_activation.ssrf import TargetPolicy
from cdp_activation.stream import Handle, PatientStream, Planner
from cdp_activation.upkeep import Upkeep
from cdp_clickhouse.client import ClickHouse
from cdp_eventlog.brokers import Brokers
from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.producer import KafkaProducer
from cdp_runtime.api import ApiPart
from cdp_runtime.clock import SystemClock
from cdp_runtime.lag import show_lag
from cdp_runtime.patience import Stopping
from cdp_runtime.postgres import Pool, front_door_pool, open_pool, pool_fault
from cdp_runtime.postgres_watch import PostgresWatch
from cdp_runtime.secrets import SecretBox
from cdp_runtime.settings import load
from cdp_schemas.topics import MEMBERSHIPS_CHANGED, PROFILES_UPDATED

_CLIENT: Final = "activation"
# not the group of releases that kept every segment: gone back to, such a release goes on where its own group was
_MEMBERSHIPS_GROUP: Final = "activation-memberships"
_PROFILES_GROUP: Final = "activation-profiles"
_GATHER_BYTES: Final = 64 * 1024


class Intake:
    """One topic of the planner: its consumer group and its stream, run and asked together."""

    def __init__(self, brokers: Brokers, group: str, topic: str, handle: Handle) -> None:
        self.topic, self._group = topic, group
        self._stream = PatientStream(handle)
        self._consumer = KafkaConsumer(brokers, group, [topic], self._stream, gather_bytes=_GATHER_BYTES)

    async def run(self) -> None:
        try:
            await self._consumer.run()
        except Stopping:
            return

    async def stop(self) -> None:
        self._stream.stop()
        await self._consumer.stop()

    def fault(self) -> str | None:
        return self._consumer.fault() or self._stream.fault()

    def show_lag(self) -> None:
        show_lag(self._group, self._consumer.lag())


class Activation:
    """The process ``cdp run activation``: planner, deliveries and upkeep."""

    name = "activation"

    def __init__(self, settings: ActivationSettings) -> None:
        self._settings = settings
        self._store = ClickHouse(settings.clickhouse_url)
        self._producer = KafkaProducer(settings.brokers, client_id=_CLIENT)
        self._holdings = PostgresHoldings(settings.postgres_url)
        self._calls = HttpCalls(TargetPolicy(settings.allowed_ports, settings.allowed_hosts))
        self._watch = PostgresWatch()
        self._pool: Pool | None = None
        self._deliverer: Deliverer | None = None
        self._upkeep: Upkeep | None = None
        self._intakes: list[Intake] = []

    async def start(self) -> None:
        settings = self._settings
        pool = self._pool = await open_pool(settings.postgres_url, name="activation", max_size=12)
        await keep_key(pool, settings.secret_key)
        self._watch.start(pool)
        await self._store.start()
        await self._producer.start()
        box = SecretBox(settings.secret_key)
        told = asyncio.Event()
        ledger = PostgresLedger(pool, FormSeal(box), told.set)
        ports = WorkerPorts(
            PostgresDirectory(pool, box),
            ledger,
            ClickHouseProfiles(self._store),
            self._calls,
            self._holdings,
            SystemClock(),
            Keyring(settings.secret_key, settings.default_phone_region),
        )
        deliverer = self._deliverer = Deliverer(ports, policies_of(settings))
        outbox = PostgresOutbox(pool, self._producer)
        self._upkeep = Upkeep(
            PostgresSweep(pool), PostgresFollowing(pool), ledger, outbox, wake=deliverer.wake, told=told
        )
        planner = Planner(PostgresProjection(pool), deliverer.wake)
        brokers = settings.brokers
        self._intakes = [
            Intake(brokers, _MEMBERSHIPS_GROUP, MEMBERSHIPS_CHANGED, planner.memberships),
            Intake(brokers, _PROFILES_GROUP, PROFILES_UPDATED, planner.profiles),
        ]

    async def run(self) -> None:
        assert self._deliverer and self._upkeep
        settings = self._settings
        poll, sweep = settings.activation_poll_seconds, settings.activation_sweep_seconds
        async with asyncio.TaskGroup() as group:
            for intake in self._intakes:
                group.create_task(intake.run())
            group.create_task(self._deliverer.run())
            group.create_task(self._upkeep.run(poll_seconds=poll, sweep_seconds=sweep))

    async def stop(self) -> None:
        for intake in self._intakes:
            await intake.stop()
        if self._deliverer:
            await self._deliverer.stop()
        if self._upkeep:
            self._upkeep.stop()
        await self._holdings.stop()
        await self._calls.stop()
        await self._producer.stop()
        await self._store.stop()
        await self._watch.stop()
        if self._pool:
            await self._pool.close()

    def faults(self) -> Mapping[str, str]:
        found = {
            "postgres": self._watch.fault,
            "clickhouse": self._store.fault(),
            "kafka": self._producer.fault(),
            **{intake.topic: intake.fault() for intake in self._intakes},
        }
        for intake in self._intakes:
            intake.show_lag()
        return {part: fault for part, fault in found.items() if fault}


def policies_of(settings: ActivationSettings) -> Policies:
    """The worker's patience and care, from the settings."""
    return Policies(
        retry=RetryPolicy(
            timedelta(seconds=settings.activation_retry_base_seconds),
            timedelta(seconds=settings.activation_retry_cap_seconds),
            timedelta(hours=settings.activation_retry_budget_hours),
        ),
        breaker=BreakerPolicy(
            consecutive=settings.activation_breaker_failures,
            first_rest=timedelta(seconds=settings.activation_breaker_rest_seconds),
        ),
        guard=GuardPolicy(
            settings.activation_guard_share,
            settings.activation_guard_members,
            settings.activation_guard_empty_members,
        ),
        poll_seconds=settings.activation_poll_seconds,
        phone_region=settings.default_phone_region,
    )


class ActivationApi:
    """The part of the front door, which opens without it: it starts when Postgres answers, and under no other key."""

    def __init__(self, settings: ActivationSettings) -> None:
        # the process that delivers has no routes and does not load FastAPI
        from fastapi import APIRouter

        from cdp_activation.api import audiences
        from cdp_activation.api import destinations as destinations_routes
        from cdp_activation.api import suppressions as suppressions_routes
        from cdp_activation.api.destinations import DestinationParts
        from cdp_activation.api.drafts import AudienceDrafts

        policy = TargetPolicy(settings.allowed_ports, settings.allowed_hosts)
        box, clock = SecretBox(settings.secret_key), SystemClock()
        region = settings.default_phone_region
        self._secret_key = settings.secret_key
        self._pool = front_door_pool(settings.postgres_url, name="activation-api", max_size=6)
        self._calls = HttpCalls(policy)
        self._audiences = PostgresAudiences(self._pool)
        destinations = PostgresDestinations(self._pool, box)
        suppressions = PostgresSuppressions(self._pool)
        self.router = APIRouter()
        self.router.include_router(audiences.router(self._audiences, AudienceDrafts(destinations), clock))
        parts = DestinationParts(destinations, self._calls, policy, clock, region)
        self.router.include_router(destinations_routes.router(parts))
        self.router.include_router(
            suppressions_routes.router(suppressions, destinations, Keyring(settings.secret_key, region), clock)
        )

    async def start(self) -> None:
        """Raises BadSettings under another key than activation's, and ConnectionError while Postgres is away."""
        await self._pool.open(wait=False)
        if fault := await pool_fault(self._pool):
            raise ConnectionError(fault)
        await require_same_key(self._pool, self._secret_key)

    async def stop(self) -> None:
        await self._pool.close()
        await self._calls.stop()

    async def counts(self, workspace_id: str, _: Sequence[Any]) -> Mapping[Any, Any]:
        """The facet ``counts``: how many audiences there are."""
        return {"audiences": await self._audiences.count(workspace_id)}


def build_api() -> ApiPart:
    """The part of the front door, wired from the environment. Raises BadSettings."""
    api = ActivationApi(load(ActivationSettings))
    return ApiPart("activation", api.router, start=api.start, stop=api.stop, facets={"counts": api.counts})


def build() -> Activation:
    """The service, wired from the environment. Raises BadSettings."""
    return Activation(load(ActivationSettings))
