"""Accepted events are counted per minute of arrival; an outage of the table loses none."""

import asyncio
from datetime import UTC, datetime, timedelta

from cdp_ingest.counts import AcceptedCounts
from cdp_ingest.quota import Limiter, Rate
from cdp_ingest.recording import CountRecorder, LimitSharer
from cdp_runtime.clock import ManualClock
from tests.fakes.ingest import FakeAcceptedTable, FakeSpending

NOW = datetime(2026, 11, 20, 12, 0, 30, tzinfo=UTC)
MINUTE = NOW.replace(second=0)


def recorder(table: FakeAcceptedTable) -> tuple[AcceptedCounts, CountRecorder, ManualClock]:
    clock = ManualClock(NOW)
    counts = AcceptedCounts("run-1")
    return counts, CountRecorder(counts, table, clock, every=0.001), clock


async def test_counts_of_a_minute_add_up_and_repeats_change_nothing() -> None:
    table = FakeAcceptedTable()
    counts, recording, _ = recorder(table)
    counts.add("demo", "s1", NOW, 2)
    assert await recording.flush()
    counts.add("demo", "s1", NOW + timedelta(seconds=20), 3)
    counts.add("demo", "s1", NOW + timedelta(seconds=40), 1)
    assert await recording.flush()
    assert await recording.flush()
    assert table.counts == {
        ("demo", "s1", MINUTE, "run-1"): 5,
        ("demo", "s1", MINUTE + timedelta(minutes=1), "run-1"): 1,
    }


async def test_an_outage_of_the_table_loses_no_count() -> None:
    table = FakeAcceptedTable()
    counts, recording, _ = recorder(table)
    table.down = True
    counts.add("demo", "s1", NOW, 2)
    assert not await recording.flush()
    table.down = False
    counts.add("demo", "s1", NOW, 1)
    await recording.finish()
    assert table.counts == {("demo", "s1", MINUTE, "run-1"): 3}


async def test_what_is_counted_while_rows_are_written_is_written_next() -> None:
    counts = AcceptedCounts("run-1")
    counts.add("demo", "s1", NOW, 2)
    rows = counts.changed()
    counts.add("demo", "s1", NOW, 1)
    counts.written(rows, NOW)
    assert [row.total for row in counts.changed()] == [3]


async def test_old_minutes_leave_the_memory_and_old_rows_the_table() -> None:
    table = FakeAcceptedTable()
    counts, recording, clock = recorder(table)
    counts.add("demo", "s1", NOW, 2)
    await recording.flush()
    clock.advance(timedelta(hours=1))
    counts.add("demo", "s1", clock.now(), 1)
    await recording.flush()
    assert len(counts._totals) == 1
    running = asyncio.create_task(recording.run())
    async with asyncio.timeout(5):
        while not table.forgotten:
            await asyncio.sleep(0.001)
    running.cancel()
    assert table.forgotten == [clock.now() - timedelta(days=35)]


async def test_gateways_tell_each_other_what_sources_spend_and_go_on_alone() -> None:
    spending, limiter, rate = FakeSpending(), Limiter(), Rate(1, 10)
    limiter.spend("s", rate, 2, 0.0)
    spending.others = {"s": 100}
    sharer = asyncio.create_task(LimitSharer(limiter, spending, every=0.001).run())
    async with asyncio.timeout(5):
        while len(spending.told) < 2:
            await asyncio.sleep(0.001)
        assert spending.told[:2] == [{"s": 2}, {}]
        spending.down = True
        await asyncio.sleep(0.01)
        spending.down, told = False, len(spending.told)
        while len(spending.told) == told:
            await asyncio.sleep(0.001)
    sharer.cancel()
