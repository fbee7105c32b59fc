"""What a flush read and wrote -> metrics."""

from collections.abc import Sequence
from datetime import datetime
from typing import Final

from cdp_identity.recording.blocks import Block, milliseconds
from cdp_identity.recording.draft import Draft
from cdp_identity.recording.settlement import Settled
from cdp_runtime import metrics
from cdp_schemas.tables import EVENTS

_SAMPLES: Final = 32  # observations of a block: enough for its spread, whatever its size


def observe_draft(flush: Draft) -> None:
    """Repeats and records that nobody could read."""
    repeats = sum(reading.repeats for reading in flush.readings)
    if repeats:
        metrics.RECORDER_REPEATS.inc(repeats)
    if flush.unreadable:
        metrics.RECORDER_UNREADABLE.inc(flush.unreadable)


def observe_block(block: Block, settled: Settled, now: datetime) -> None:
    """A block that became durable, and how old its events are."""
    metrics.RECORDER_BLOCK_ROWS.labels(block.table).observe(block.rows)
    metrics.RECORDER_ROWS.labels(block.table, settled.value).inc(block.rows)
    if block.table == EVENTS.name:
        _observe_freshness(block.column("received_at"), milliseconds(now))


def _observe_freshness(arrivals: Sequence[int], now_ms: int) -> None:
    freshness = metrics.FRESHNESS.labels("recorded")
    for arrived in arrivals[:: max(1, len(arrivals) // _SAMPLES)]:
        freshness.observe(max(0, now_ms - arrived) / 1000)
