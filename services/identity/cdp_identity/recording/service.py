"""The recorder process: settings and adapters in, one running consumer out."""

import asyncio
from collections.abc import Mapping
from typing import Final

from cdp_clickhouse.client import ClickHouse
from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.producer import KafkaProducer
from cdp_identity.recording.adapters.clickhouse import ClickHouseColumns
from cdp_identity.recording.adapters.postgres import PostgresLedger
from cdp_identity.recording.flush import Flush, Stores
from cdp_identity.recording.ports import WAITED_FOR, Fenced
from cdp_identity.recording.settings import RecorderSettings
from cdp_identity.recording.stream import RecorderStream
from cdp_runtime import metrics
from cdp_runtime.clock import SystemClock
from cdp_runtime.faultpoints import reach
from cdp_runtime.gathering import Gathering
from cdp_runtime.lag import show_lag
from cdp_runtime.logs import get_logger
from cdp_runtime.patience import Patience, Stopping
from cdp_runtime.postgres import lazy_pool
from cdp_runtime.postgres_watch import PostgresWatch
from cdp_runtime.settings import load
from cdp_schemas.topics import EVENTS_IDENTIFIED, PROFILES_MERGED, PROFILES_UPDATED

_log = get_logger(__name__)
_TOPICS: Final = (EVENTS_IDENTIFIED, PROFILES_UPDATED, PROFILES_MERGED)
_LAG_PERIOD_S: Final = 2.0


class RecorderService:
    """events-identified, profiles-updated and profiles-merged -> ClickHouse -> profiles-recorded."""

    name = "recorder"

    def __init__(self, settings: RecorderSettings) -> None:
        self._settings = settings
        self._patience = Patience(self.name, WAITED_FOR)
        self._columns = ClickHouse(settings.clickhouse_url)
        self._pool = lazy_pool(settings.postgres_url, name=self.name, max_size=4)
        self._watch = PostgresWatch()
        self._producer = KafkaProducer(settings.brokers, client_id=self.name)
        self._consumer: KafkaConsumer | None = None
        self._stopping = False

    async def start(self) -> None:
        await self._pool.open()
        self._watch.start(self._pool)
        await self._producer.start()
        await self._columns.start()

    async def run(self) -> None:
        measuring = asyncio.create_task(self._measure_lag())
        try:
            while not self._stopping:
                await self._session()
        except Stopping:
            _log.info("recorder_abandons_batch")
        finally:
            measuring.cancel()

    async def stop(self) -> None:
        self._stopping = True
        self._patience.stop()
        if self._consumer is not None:
            await self._consumer.stop()
        await self._producer.stop()
        await self._columns.stop()
        await self._watch.stop()
        await self._pool.close()

    def faults(self) -> Mapping[str, str]:
        found = {
            "postgres": self._watch.fault,
            "kafka": self._producer.fault() or (self._consumer.fault() if self._consumer else None),
            "clickhouse": self._columns.fault(),
        }
        return {**{name: fault for name, fault in found.items() if fault}, **self._patience.faults()}

    async def _session(self) -> None:
        """One membership in the group; ends at a stop, or when another worker took over in the middle of a flush."""
        settings, clock = self._settings, SystemClock()
        ledger = PostgresLedger(self._pool)
        stores = Stores(ledger, ClickHouseColumns(self._columns), ledger, self._producer, clock)
        pause = settings.recorder_flush_seconds
        gathering = Gathering(pause, settings.recorder_full_records, longest=1.5 * pause)
        flush = Flush(
            stores,
            self._patience,
            window=settings.recorder_window_blocks,
            checkpoint=lambda step: reach(f"recorder.{step}"),
        )
        stream = RecorderStream(flush, clock)
        self._consumer = KafkaConsumer(
            settings.brokers,
            settings.recorder_group,
            _TOPICS,
            stream,
            max_records=settings.recorder_max_records,
            gather=gathering.wait,
        )
        try:
            await self._consumer.run()
        except Fenced as fenced:
            metrics.RECORDER_FENCED.inc(len(fenced.partitions))
            _log.warning("recorder_was_fenced", partitions=str(fenced))

    async def _measure_lag(self) -> None:
        while True:
            await asyncio.sleep(_LAG_PERIOD_S)
            if self._consumer is not None:
                show_lag(self._settings.recorder_group, self._consumer.lag())


def build() -> RecorderService:
    """The recorder, wired from the environment. Raises BadSettings."""
    return RecorderService(load(RecorderSettings))
