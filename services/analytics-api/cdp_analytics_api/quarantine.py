"""events-received-dlq -> the quarantine, each refused event once."""

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

from cdp_analytics_api.ports import Quarantine, Refused
from cdp_eventlog.log import Partition, RangeReader, Record
from cdp_runtime.backoff import Backoff
from cdp_runtime.logs import get_logger
from cdp_runtime.metrics import API_QUARANTINED
from cdp_runtime.postgres import retryable
from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.events import RefusedEvent

T = TypeVar("T")
GROUP: Final = "analytics-api-quarantine"
_log = get_logger(__name__)
_codec: Final = Codec(RefusedEvent)


class QuarantineTaker:
    """The BatchHandler of the dead-letter topic; the store's own positions decide where to start."""

    def __init__(self, quarantine: Quarantine) -> None:
        self._quarantine = quarantine

    async def assigned(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int | None]:
        numbers = [partition.number for partition in partitions]
        starts = await _until_it_works(lambda: self._quarantine.starts(numbers))
        return {partition: starts.get(partition.number, 0) for partition in partitions}

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        refused = [found for records in batch.values() for record in records if (found := _read(record)) is not None]
        ends = {partition.number: records[-1].offset + 1 for partition, records in batch.items()}
        await _until_it_works(lambda: self._quarantine.take(refused, ends))
        API_QUARANTINED.inc(len(refused))

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        return None


def _read(record: Record) -> Refused | None:
    try:
        event = _codec.decode(record.value)
    except InvalidMessage as error:
        # without its envelope nobody's workspace is known: it stays in the topic, and here only in the log
        _log.error("dead_letter_unreadable", partition=record.partition.number, offset=record.offset, reason=str(error))
        return None
    return Refused(record.partition.number, record.offset, event)


async def _until_it_works(call: Callable[[], Awaitable[T]]) -> T:
    """The call's result, through any outage of the store. Raises what would fail again."""
    attempt = 0
    while True:
        try:
            return await call()
        except Exception as error:
            if not retryable(error):
                raise
            pause = Backoff(cap=5.0).delay(attempt)
            _log.warning("quarantine_waits", reason=str(error), seconds=round(pause, 1))
            attempt += 1
            await asyncio.sleep(pause)
