"""Composition root of the resolver and of the identity API: settings -> adapters -> service."""

import asyncio
from collections.abc import Mapping

from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.producer import KafkaProducer
from cdp_identity.adapters.postgres import PostgresStore
from cdp_identity.adapters.postgres_messages import keep_message_partitions
from cdp_identity.adapters.postgres_reads import ProfileReads
from cdp_identity.application import Rules
from cdp_identity.identifiers import BLOCKED, Spelling
from cdp_identity.resolve import Resolver
from cdp_identity.settings import IdentitySettings
from cdp_identity.statements import Reading
from cdp_identity.stream import WAITED_FOR, ReceivedStream
from cdp_identity.writing import ProfileWrites
from cdp_runtime.api import ApiPart, Facet
from cdp_runtime.clock import SystemClock
from cdp_runtime.gathering import Gathering
from cdp_runtime.lag import show_lag
from cdp_runtime.logs import get_logger
from cdp_runtime.patience import Patience, Stopping
from cdp_runtime.postgres import Pool, front_door_statements, open_pool
from cdp_runtime.postgres_watch import PostgresWatch
from cdp_runtime.service import Service
from cdp_runtime.settings import load
from cdp_schemas.topics import EVENTS_RECEIVED

_GROUP = "resolver"
_UPKEEP_SECONDS = 3600.0
_LAG_SECONDS = 2.0
_log = get_logger(__name__)


def rules(settings: IdentitySettings) -> Rules:
    """The settings as the decisions take them."""
    reading = Reading(spelling(settings), settings.default_currency)
    least_move = settings.identity_last_seen_seconds * 1_000_000
    return Rules(settings.guards(), reading, settings.duplicate_window(), least_move)


def gathering(settings: IdentitySettings) -> Gathering:
    """A batch costs a transaction, a publication and a dozen statements, whatever its size: few large when busy."""
    least = settings.identity_gather_seconds
    return Gathering(least, full=settings.identity_batch_events // 2, longest=2 * least)


def spelling(settings: IdentitySettings) -> Spelling:
    """How identifiers are read, the same way by the resolver and by the API."""
    words = (value.strip().lower() for value in settings.identity_blocked_values.split(","))
    return Spelling(settings.default_phone_region, BLOCKED | {word for word in words if word})


class ResolverService:
    """The process `cdp run resolver`."""

    name = "resolver"

    def __init__(self, settings: IdentitySettings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._producer = KafkaProducer(settings.brokers, client_id="resolver")
        self._watch = PostgresWatch()
        self._pool: Pool | None = None
        self._consumer: KafkaConsumer | None = None
        self._patience = Patience(self.name, WAITED_FOR)
        self._chores: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        settings = self._settings
        self._pool = await open_pool(settings.postgres_url, name="resolver", min_size=1, max_size=4)
        self._watch.start(self._pool)
        await keep_message_partitions(self._pool, self._clock.now(), settings.duplicate_window())
        await self._producer.start()
        store = PostgresStore(self._pool)
        resolver = Resolver(store, rules(settings), self._clock)
        stream = ReceivedStream(store, resolver, self._producer, self._clock, self._patience)
        self._consumer = KafkaConsumer(
            settings.brokers,
            _GROUP,
            [EVENTS_RECEIVED],
            stream,
            max_records=settings.identity_batch_events,
            gather=gathering(settings).wait,
        )

    async def run(self) -> None:
        assert self._consumer is not None
        self._chores = [asyncio.create_task(self._keep_partitions()), asyncio.create_task(self._show_lag())]
        try:
            await self._consumer.run()
        except Stopping:
            _log.info("resolver_abandons_batch")

    async def stop(self) -> None:
        for chore in self._chores:
            chore.cancel()
        self._patience.stop()
        if self._consumer is not None:
            await self._consumer.stop()
        await self._producer.stop()
        await self._watch.stop()
        if self._pool is not None:
            await self._pool.close()

    def faults(self) -> Mapping[str, str]:
        faults = {
            "postgres": self._watch.fault,
            "kafka": self._producer.fault() or (self._consumer.fault() if self._consumer else None),
        }
        return {**{name: fault for name, fault in faults.items() if fault}, **self._patience.faults()}

    async def _keep_partitions(self) -> None:
        while True:
            await asyncio.sleep(_UPKEEP_SECONDS)
            assert self._pool is not None
            try:
                await keep_message_partitions(self._pool, self._clock.now(), self._settings.duplicate_window())
            except Exception:
                # the catch-all partition takes the messages until the next hour's try
                _log.exception("message_partitions_not_kept")

    async def _show_lag(self) -> None:
        while True:
            await asyncio.sleep(_LAG_SECONDS)
            assert self._consumer is not None
            show_lag(_GROUP, self._consumer.lag())


def build_resolver() -> Service:
    """Entry point ``resolver``."""
    return ResolverService(load(IdentitySettings))


def build_api() -> ApiPart:
    """Entry point ``identity`` of the front door. It starts while Postgres and Kafka are down."""
    from cdp_identity.api import IdentityApi  # the resolver has no routes and does not load FastAPI

    settings = load(IdentitySettings)
    clock = SystemClock()
    pool = front_door_statements(settings.postgres_url, name="identity-api")
    producer = KafkaProducer(settings.brokers, client_id="identity-api")
    reads = ProfileReads(pool, clock)
    writes = ProfileWrites(producer, reads, clock, settings.identity_wait_seconds)
    api = IdentityApi(reads, writes, spelling(settings), settings.default_currency)
    connecting: list[asyncio.Task[None]] = []

    async def start() -> None:
        await pool.open()
        connecting.append(asyncio.create_task(producer.start()))

    async def stop() -> None:
        for task in connecting:
            task.cancel()
        await producer.stop()
        await pool.close()

    def faults() -> Mapping[str, str]:
        fault = producer.fault()
        return {"kafka": fault} if fault else {}

    facets: dict[str, Facet] = {"profiles": api.profiles_facet, "resolve": api.resolve_facet}
    return ApiPart("identity", api.router(), start, stop, faults, facets)
