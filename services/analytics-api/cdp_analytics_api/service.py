"""The wiring of the front door: settings and adapters in, one process out."""

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from fastapi import APIRouter
from psycopg import AsyncConnection

from cdp_analytics_api.adapters.clickhouse import ClickHouseDirectory, ClickHouseEventStore
from cdp_analytics_api.adapters.kafka import KafkaEventTail
from cdp_analytics_api.adapters.postgres.audit import PostgresAuditLog
from cdp_analytics_api.adapters.postgres.idempotency import PostgresKeptAnswers
from cdp_analytics_api.adapters.postgres.quarantine import PostgresQuarantine
from cdp_analytics_api.adapters.postgres.tokens import NewToken, PostgresTokens, create_token
from cdp_analytics_api.adapters.postgres.workspaces import create_workspace
from cdp_analytics_api.adapters.redis import RedisRateLimiter
from cdp_analytics_api.app import Door, build_app
from cdp_analytics_api.door.audit import AuditTrail
from cdp_analytics_api.housekeeping import Kept, Watch, Work, chores, supervised
from cdp_analytics_api.live import Listeners
from cdp_analytics_api.pages import EventPages
from cdp_analytics_api.parts import RunningPart, installed_parts
from cdp_analytics_api.quarantine import GROUP, QuarantineTaker
from cdp_analytics_api.reports import Reports
from cdp_analytics_api.routes.analytics import analytics_router
from cdp_analytics_api.routes.attendance import Attendance, Care
from cdp_analytics_api.routes.events import events_router
from cdp_analytics_api.routes.live import live_router
from cdp_analytics_api.routes.quarantine import quarantine_router
from cdp_analytics_api.routes.system import system_router
from cdp_analytics_api.seats import Seats
from cdp_analytics_api.settings import AnalyticsApiSettings
from cdp_analytics_api.stream import LiveStream
from cdp_analytics_api.tokens import TokenAuthenticator
from cdp_clickhouse.client import ClickHouse
from cdp_eventlog.consumer import KafkaConsumer
from cdp_runtime.api import ApiPart
from cdp_runtime.auth import SCOPES
from cdp_runtime.clients import networks
from cdp_runtime.clock import SystemClock
from cdp_runtime.logs import get_logger
from cdp_runtime.postgres import Pool, front_door_pool, lazy_pool, statement_pool
from cdp_runtime.server import HttpServer
from cdp_runtime.service import Service
from cdp_runtime.settings import load
from cdp_schemas.topics import EVENTS_RECEIVED_DLQ

_log = get_logger(__name__)


@dataclass(frozen=True, slots=True)
class _Adapters:
    """Everything outside, not yet connected. The pool of a request sees its workspace, the owner's sees all."""

    pool: Pool
    owners: Pool
    entries: Pool
    clickhouse: ClickHouse
    events: ClickHouseEventStore
    directory: ClickHouseDirectory
    quarantine: PostgresQuarantine
    kept: PostgresKeptAnswers
    audit: PostgresAuditLog
    requests: RedisRateLimiter
    guesses: RedisRateLimiter

    async def disconnect(self) -> None:
        await self.pool.close()
        await self.owners.close()
        await self.entries.close()
        await self.clickhouse.stop()
        await self.requests.close()
        await self.guesses.close()


class _OwnPart:
    """This service's own routes, and what runs behind them."""

    def __init__(self, adapters: _Adapters, settings: AnalyticsApiSettings, authenticator: TokenAuthenticator) -> None:
        clock, brokers = SystemClock(), settings.brokers
        self.listeners = Listeners(settings.api_stream_buffer)
        stream = LiveStream(KafkaEventTail(brokers), self.listeners, adapters.directory)
        self._consumer = KafkaConsumer(brokers, GROUP, [EVENTS_RECEIVED_DLQ], QuarantineTaker(adapters.quarantine))
        self._watch = Watch(adapters.pool, adapters.events)
        self._authenticator = authenticator
        kept = Kept(adapters.kept, adapters.quarantine, adapters.audit, settings.api_audit_days)
        self._works: dict[str, Work] = {
            **chores(authenticator, kept, self._watch, clock),
            "live stream": stream.run,
            "quarantine": self._consumer.run,
        }
        self._tasks: list[asyncio.Task[None]] = []
        reports = Reports(adapters.events, clock, settings.default_currency)
        pages = EventPages(adapters.events, adapters.directory)
        self.router = APIRouter()
        for router in (
            system_router(reports, clock),
            quarantine_router(adapters.quarantine),
            live_router(stream, Attendance(self.listeners, adapters.directory, _care(settings))),
            events_router(pages, adapters.directory, clock),
            analytics_router(reports),
        ):
            self.router.include_router(router)

    async def start(self) -> None:
        """Waits for nothing: each request says itself what is missing."""
        self._tasks = [asyncio.create_task(supervised(name, work)) for name, work in self._works.items()]

    async def stop(self) -> None:
        await self._consumer.stop()
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        await self._authenticator.note_uses()

    def faults(self) -> Mapping[str, str]:
        kafka = self._consumer.fault()
        return {**self._watch.faults, **({"kafka": kafka} if kafka else {})}


class AnalyticsApi:
    """The front door's process."""

    name = "analytics-api"

    def __init__(self, settings: AnalyticsApiSettings, parts: Sequence[ApiPart]) -> None:
        self._adapters = _adapters(settings)
        authenticator = TokenAuthenticator(
            PostgresTokens(self._adapters.owners), SystemClock(), cache_seconds=settings.api_token_cache_seconds
        )
        own = _OwnPart(self._adapters, settings, authenticator)
        self._listeners = own.listeners
        mine = ApiPart(self.name, own.router, own.start, own.stop, own.faults)
        self._parts = [RunningPart(part) for part in (mine, *parts)]
        self.app = build_app(self._parts, _door(settings, self._adapters, authenticator))
        self._server = HttpServer(
            self.app,
            settings.api_host,
            settings.api_port,
            variable="CDP_API_PORT",
            websockets=True,
            drain_seconds=10,
            request_seconds=settings.api_request_seconds,
        )

    async def start(self) -> None:
        """Opens the door at once, whatever is down. Raises PortTaken."""
        await self._adapters.pool.open(wait=False)
        await self._adapters.owners.open(wait=False)
        await self._adapters.entries.open(wait=False)
        for part in self._parts:
            part.start()
        self.port = self._server.start()
        _log.info("front_door_open", port=self.port)

    async def run(self) -> None:
        await self._server.run()

    async def stop(self) -> None:
        self._listeners.close()  # open streams would keep the server waiting
        await self._server.stop()
        for part in self._parts:
            await part.stop()
        await self._adapters.disconnect()

    def faults(self) -> Mapping[str, str]:
        faults: dict[str, str] = {}
        for part in self._parts:
            faults = {**part.faults(), **faults}
        return faults


def build() -> Service:
    """The front door over every installed part. Raises BadSettings."""
    return AnalyticsApi(load(AnalyticsApiSettings), installed_parts())


async def seed_local(postgres_url: str) -> None:
    """The workspace ``demo`` and its API token with every scope, for local stacks. Entry point group ``cdp.seeds``."""
    async with await AsyncConnection.connect(postgres_url) as connection:
        await create_workspace(connection, "demo", "Demo shop")
        await create_token(connection, NewToken("demo", "local stack", "demo-api-token", sorted(SCOPES)))


def _adapters(settings: AnalyticsApiSettings) -> _Adapters:
    pool = front_door_pool(settings.postgres_url, name="analytics-api", max_size=6)
    owners = lazy_pool(settings.postgres_url, name="analytics-api-owner", max_size=4)
    entries = statement_pool(settings.postgres_url, name="analytics-api-audit", max_size=3)  # two write, one removes
    clickhouse = ClickHouse(settings.clickhouse_url, timeout_s=settings.api_query_seconds + 5)
    events = ClickHouseEventStore(clickhouse, seconds=settings.api_query_seconds, rows=settings.api_query_rows)
    wrong_tokens = settings.api_wrong_tokens_per_minute
    return _Adapters(
        pool=pool,
        owners=owners,
        entries=entries,
        clickhouse=clickhouse,
        events=events,
        directory=ClickHouseDirectory(events),
        quarantine=PostgresQuarantine(pool, owners),
        kept=PostgresKeptAnswers(pool, owners),
        audit=PostgresAuditLog(entries),
        requests=RedisRateLimiter(settings.redis_url, "rate", settings.api_rate_per_minute, settings.api_rate_burst),
        guesses=RedisRateLimiter(settings.redis_url, "guesses", wrong_tokens, wrong_tokens),
    )


def _care(settings: AnalyticsApiSettings) -> Care:
    most = {
        "token": settings.api_streams_per_token,
        "workspace": settings.api_streams_per_workspace,
        "client": settings.api_streams_per_client,
    }
    return Care(Seats(most), max(0.1, settings.api_token_cache_seconds), settings.api_stream_stall_seconds)


def _door(settings: AnalyticsApiSettings, adapters: _Adapters, authenticator: TokenAuthenticator) -> Door:
    return Door(
        authenticator=authenticator,
        requests=adapters.requests,
        guesses=adapters.guesses,
        proxies=networks(settings.api_trusted_proxies.split(",")),
        trail=AuditTrail(adapters.audit),
        kept=adapters.kept,
        clock=SystemClock(),
        origins=tuple(origin.strip() for origin in settings.api_cors_origins.split(",") if origin.strip()),
        body_bytes=settings.api_body_bytes,
    )
