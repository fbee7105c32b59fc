"""Settings and adapters -> the segmenter and its part of the front door: the only place that wires."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING, Final

from cdp_clickhouse.client import ClickHouse
from cdp_eventlog.producer import KafkaProducer
from cdp_runtime.api import ApiPart, Facet
from cdp_runtime.clock import SystemClock
from cdp_runtime.lag import show_lag
from cdp_runtime.postgres import Pool, front_door_pool, front_door_statements, open_pool
from cdp_runtime.postgres_watch import PostgresWatch
from cdp_runtime.settings import load
from cdp_schemas.topics import PROFILES_RECORDED
from cdp_segmenter.adapters.clickhouse_crowd import ClickHouseCrowd
from cdp_segmenter.adapters.postgres_agenda import PostgresAgenda
from cdp_segmenter.adapters.postgres_catalogue import PostgresCatalogue
from cdp_segmenter.adapters.postgres_leader import PostgresLeader
from cdp_segmenter.adapters.postgres_memberships import PostgresLedger
from cdp_segmenter.adapters.postgres_outbox import PostgresOutbox
from cdp_segmenter.build import Builder
from cdp_segmenter.chores import Chores, Pace
from cdp_segmenter.desk import Desk
from cdp_segmenter.evaluate import Evaluator
from cdp_segmenter.settings import SegmenterSettings
from cdp_segmenter.stream import RecordedStream
from cdp_segmenter.sweep import Sweep

if TYPE_CHECKING:
    from cdp_eventlog.faust_shell import FaustShell

_GROUP: Final = "segmenter"


class Segmenter:
    """The process ``cdp run segmenter``: the stream of changed profiles, and the chores."""

    name = "segmenter"

    def __init__(self, settings: SegmenterSettings) -> None:
        self._settings = settings
        self._store = ClickHouse(settings.clickhouse_url)
        self._producer = KafkaProducer(settings.brokers, client_id=_GROUP)
        self._leader = PostgresLeader(settings.postgres_url)
        self._watch = PostgresWatch()
        self._pool: Pool | None = None
        self._chores: Chores | None = None
        self._shell: FaustShell | None = None

    async def start(self) -> None:
        from cdp_eventlog.faust_shell import FaustShell  # the front door has no stream and does not load Faust

        settings = self._settings
        pool = self._pool = await open_pool(settings.postgres_url, name=_GROUP, max_size=8)
        self._watch.start(pool)
        await self._store.start()
        await self._producer.start()
        clock, crowd = SystemClock(), ClickHouseCrowd(self._store)
        ledger, agenda = PostgresLedger(pool), PostgresAgenda(pool)
        evaluator = Evaluator(ledger, crowd, clock)
        pace = Pace(
            settings.segmenter_poll_seconds, settings.segmenter_sweep_seconds, settings.segmenter_reconcile_seconds
        )
        chores = self._chores = Chores(
            PostgresOutbox(pool, self._producer),
            self._leader,
            Builder(evaluator, ledger, crowd, agenda, clock),
            Sweep(evaluator, ledger, crowd, agenda, clock),
            agenda,
            pace,
        )
        self._shell = FaustShell(
            _GROUP,
            settings.brokers,
            [PROFILES_RECORDED],
            RecordedStream(evaluator, agenda, chores.wake, clock).handle,
            data_dir=settings.data_dir,
            max_batch=settings.segmenter_batch_messages,
            within_seconds=settings.segmenter_batch_seconds,
        )
        await self._shell.start()

    async def run(self) -> None:
        assert self._chores and self._shell
        await asyncio.gather(self._chores.run(), self._shell.run())

    async def stop(self) -> None:
        if self._shell:
            await self._shell.stop()
        if self._chores:
            await self._chores.stop()
        await self._leader.stop()
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
            "profiles-recorded": self._shell.fault() if self._shell else "not connected yet",
        }
        if self._shell is not None:
            show_lag(_GROUP, self._shell.lag())
        return {part: fault for part, fault in found.items() if fault}


def build() -> Segmenter:
    """The service, wired from the environment. Raises BadSettings."""
    return Segmenter(load(SegmenterSettings))


def build_api() -> ApiPart:
    """The part of the front door: stores that open lazily, so that the door starts while they are away."""
    from cdp_segmenter.api import SegmentsApi  # the segmenter has no routes and does not load FastAPI

    settings = load(SegmenterSettings)
    pool = front_door_pool(settings.postgres_url, name="segmenter-api", max_size=6)
    statements = front_door_statements(settings.postgres_url, name="segmenter-api-statements")
    store = ClickHouse(settings.clickhouse_url)
    clock, crowd = SystemClock(), ClickHouseCrowd(store)
    desk = Desk(PostgresCatalogue(statements), PostgresLedger(pool), crowd, clock)
    api = SegmentsApi(desk)

    async def start() -> None:
        await pool.open(wait=False)
        await statements.open(wait=False)

    async def stop() -> None:
        await pool.close()
        await statements.close()
        await store.stop()

    facets: dict[str, Facet] = {
        "segments": desk.segments_of,
        "segment_exists": desk.existing,
        "counts": desk.counts,
    }
    return ApiPart("segmenter", api.router(), start, stop, facets=facets)
