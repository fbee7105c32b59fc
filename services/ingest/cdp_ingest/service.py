"""Settings -> the gateway process, its part of the front door, and the local stack's source."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import psycopg

from cdp_eventlog.producer import KafkaProducer
from cdp_ingest.adapters.postgres import PostgresAccepted, PostgresSources
from cdp_ingest.adapters.postgres_sources import NewSource, create_source
from cdp_ingest.answers import Cors
from cdp_ingest.api import events_router
from cdp_ingest.callers import Callers
from cdp_ingest.counts import AcceptedCounts
from cdp_ingest.gateway import Gateway, Limits
from cdp_ingest.hot import HotPaths
from cdp_ingest.quota import InFlight, Limiter, Rate
from cdp_ingest.recording import KEPT, CountRecorder, LimitSharer
from cdp_ingest.settings import IngestSettings
from cdp_ingest.sources import RememberedSources
from cdp_ingest.strangers import Strangers
from cdp_ingest.web import Site, build_web
from cdp_ingest.workers import PORT, GatewayWorkers
from cdp_runtime import metrics
from cdp_runtime.api import ApiPart
from cdp_runtime.clients import networks
from cdp_runtime.clock import SystemClock
from cdp_runtime.logs import get_logger
from cdp_runtime.postgres import front_door_pool, lazy_pool
from cdp_runtime.rates import Rates
from cdp_runtime.server import HttpServer
from cdp_runtime.service import Service
from cdp_runtime.settings import load

if TYPE_CHECKING:
    from cdp_ingest.adapters.redis import RedisSpending

_log = get_logger(__name__)


class IngestService:
    """One worker of the gateway. It listens from the start: while Kafka or Postgres is away it answers 503."""

    name = "ingest"

    def __init__(self, settings: IngestSettings) -> None:
        self._settings = settings
        self._clock = SystemClock()
        self._log = _producer(settings, "cdp-ingest")
        self._pool = lazy_pool(settings.postgres_url, name="cdp-ingest", max_size=4)
        self._sources = RememberedSources(
            PostgresSources(self._pool), self._clock.monotonic, settings.ingest_source_cache_seconds
        )
        counts = AcceptedCounts(uuid4().hex)
        self._recorder = CountRecorder(counts, PostgresAccepted(self._pool), self._clock)
        limiter = Limiter()
        self._spending = _spending(settings)
        self._sharer = LimitSharer(limiter, self._spending) if self._spending is not None else None
        limits = _limits(settings)
        gateway = Gateway(self._log, counts, limits, self._clock, lambda: str(uuid4()), limiter)
        app = self._app(gateway, limits)
        self._server = HttpServer(
            app,
            settings.ingest_host,
            settings.ingest_port,
            variable=PORT,
            shared=settings.ingest_share_port,
            request_seconds=settings.ingest_request_seconds,
            direct=app,
        )
        self._tasks: list[asyncio.Task[None]] = []
        self.port = 0

    async def start(self) -> None:
        """Listens, then connects. Raises PortTaken."""
        self.port = self._server.start()
        _log.info("gateway_listening", host=self._settings.ingest_host, port=self.port)
        await self._pool.open(wait=False)
        await self._log.start()
        work = [self._recorder.run(), self._measure()]
        if self._sharer is not None:
            work.append(self._sharer.run())
        self._tasks = [asyncio.create_task(task) for task in work]

    async def run(self) -> None:
        await self._server.run()

    async def stop(self) -> None:
        """Answers what is open, then writes the last counts."""
        await self._server.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._sources.stop()
        await self._recorder.finish()
        await self._log.stop()
        if self._spending is not None:
            await self._spending.stop()
        await self._pool.close()

    def faults(self) -> Mapping[str, str]:
        """Kafka alone: without Postgres the known sources are still served, and one gateway less helps nobody."""
        fault = self._log.fault()
        return {} if fault is None else {"kafka": fault}

    async def _measure(self) -> None:
        while True:
            metrics.INGEST_BUFFERED.set(self._in_flight.total)
            await asyncio.sleep(1.0)

    def _app(self, gateway: Gateway, limits: Limits) -> HotPaths:
        settings = self._settings
        in_flight = InFlight(settings.ingest_buffer_bytes, settings.ingest_source_buffer_bytes)
        self._in_flight = in_flight
        site = Site(settings.ingest_public_host, settings.ingest_scripts_dir)
        wrong_keys = settings.ingest_wrong_keys_per_minute
        guesses = Rates(wrong_keys, wrong_keys, self._clock.monotonic)
        callers = Callers(self._sources, guesses, networks(settings.ingest_trusted_proxies.split(",")))
        app = HotPaths(gateway, callers, limits, in_flight, build_web(callers, site))
        origins = settings.ingest_credential_origins.split(",")
        app.cors = Cors(frozenset(origin.strip().encode() for origin in origins if origin.strip()))
        if settings.ingest_unknown_keys == "quarantine":
            budget = settings.ingest_unknown_bytes_per_second
            app.strangers = Strangers(self._log, self._clock, Rate(budget, 60 * budget))
        app.body_timeout = settings.ingest_request_seconds
        return app


class EventsApi:
    """The gateway's part of the front door: plain events in, and the counts of accepted ones out."""

    def __init__(self, settings: IngestSettings) -> None:
        self._clock = SystemClock()
        self._log = _producer(settings, "cdp-api-events")
        self._pool = front_door_pool(settings.postgres_url, name="cdp-api-events", max_size=2)
        self._table = PostgresAccepted(self._pool)
        counts = AcceptedCounts(uuid4().hex)
        # what was counted is written for all workspaces at once
        self._owners = lazy_pool(settings.postgres_url, name="cdp-api-events-owner", max_size=1)
        self._recorder = CountRecorder(counts, PostgresAccepted(self._owners), self._clock)
        self.limits = _limits(settings)
        self.gateway = Gateway(self._log, counts, self.limits, self._clock, lambda: str(uuid4()), Limiter())
        self._recording: asyncio.Task[None] | None = None

    async def start(self) -> None:
        await self._pool.open(wait=False)
        await self._owners.open(wait=False)
        self._recording = asyncio.create_task(self._recorder.run())
        await self._log.start()

    async def stop(self) -> None:
        if self._recording is not None:
            self._recording.cancel()
            await asyncio.gather(self._recording, return_exceptions=True)
            await self._recorder.finish(2.0)
        await self._log.stop()
        await self._pool.close()
        await self._owners.close()

    def faults(self) -> Mapping[str, str]:
        fault = self._log.fault()
        return {} if fault is None else {"kafka": fault}

    async def accepted(self, workspace_id: str, since: Sequence[Any]) -> Mapping[str, Any]:
        """The facet ``accepted``: ``{"rows": [{source_id, minute, count}]}``, newest first.

        ``since`` may hold one aware datetime; without it the rows are those of all the minutes that are kept.
        """
        start = since[0] if since else self._clock.now() - KEPT
        return {"rows": await self._table.read(workspace_id, start)}


def _spending(settings: IngestSettings) -> RedisSpending | None:
    if not settings.ingest_share_limits:
        return None
    from cdp_ingest.adapters.redis import RedisSpending  # Redis's client is a third of all that a gateway loads

    return RedisSpending(settings.redis_url)


def build() -> Service:
    """The gateway from the environment: one process, or one that watches many. Raises BadSettings."""
    settings = load(IngestSettings)
    if settings.ingest_workers > 1:
        return GatewayWorkers(settings.ingest_host, settings.ingest_port, settings.ingest_workers)
    return IngestService(settings)


def build_api() -> ApiPart:
    """The router and the facet for the front door. Raises BadSettings."""
    part = EventsApi(load(IngestSettings))
    router = events_router(part.gateway, part.limits)
    facets = {"accepted": part.accepted}
    return ApiPart("ingest", router, part.start, part.stop, part.faults, facets)


async def seed_local(postgres_url: str) -> None:
    """The source of the local stack: workspace ``demo``, write key ``demo-write-key``. Does nothing elsewhere."""
    if load(IngestSettings).environment != "local":
        return
    async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
        await create_source(connection, NewSource("demo", "source-demo", "Demo shop", "demo-write-key"))


def _producer(settings: IngestSettings, client_id: str) -> KafkaProducer:
    return KafkaProducer(settings.brokers, client_id=client_id, timeout=settings.ingest_ack_seconds)


def _limits(settings: IngestSettings) -> Limits:
    rate = settings.ingest_events_per_second
    return Limits(
        max_body_bytes=settings.ingest_max_body_bytes,
        max_event_bytes=settings.ingest_max_event_bytes,
        max_batch_events=settings.ingest_max_batch_events,
        rate=Rate(rate, settings.ingest_burst_events or 2 * rate),
    )
