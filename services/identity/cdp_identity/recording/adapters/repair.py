"""Events that are there -> what the views of the events table have made of them, and should have."""

import asyncio
import itertools
from collections import Counter
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_identity.recording.blocks import OUTCOME_COLUMNS, Block, minute_of
from cdp_runtime.parts import in_parts
from cdp_schemas.tables import EVENT_OUTCOMES, EVENTS

IDS_PER_COMMAND: Final = 50  # a command's parameters travel in the URL
_SETTLE_S: Final = 1.0
_DIFFERING: Final = """
SELECT node_id FROM (
    SELECT node_id, toInt64(count()) AS n FROM events
    WHERE workspace_id = {workspace:String} AND node_id IN {nodes:Array(UUID)} GROUP BY node_id
    UNION ALL
    SELECT node_id, -toInt64(sum(count)) AS n FROM counters
    WHERE workspace_id = {workspace:String} AND node_id IN {nodes:Array(UUID)} GROUP BY node_id
) GROUP BY node_id HAVING sum(n) != 0
"""
_FORGET: Final = """
DELETE FROM counters WHERE workspace_id = {workspace:String} AND node_id IN {nodes:Array(UUID)}
"""
_RECOUNT: Final = """
INSERT INTO counters
SELECT workspace_id, event, node_id, toDate(timestamp) AS day, count(), min(timestamp), max(timestamp)
FROM events WHERE workspace_id = {workspace:String} AND node_id IN {nodes:Array(UUID)}
GROUP BY workspace_id, event, node_id, day
SETTINGS insert_deduplicate = 0
"""
# only in the block's own minutes: what a flush has of the next month is another block
_COUNTED: Final = """
SELECT received_partition, max(last_offset) AS last FROM event_outcomes
WHERE received_partition IN {numbers:Array(Int32)} AND (outcome = 'stored') = {stored:Bool}
  AND minute BETWEEN toDateTime({oldest:UInt32}) AND toDateTime({newest:UInt32})
GROUP BY received_partition
"""


async def counted(store: ClickHouse, block: Block) -> set[int]:
    """Partitions whose events of the block are counted: blocks arrive in order and whole, so the last offset tells."""
    offsets, is_stored = block.offsets(), block.table == EVENTS.name
    minutes = set(map(minute_of, block.column("received_at"))) if is_stored else block.column("minute")
    values = {"numbers": list(offsets), "stored": is_stored, "oldest": min(minutes), "newest": max(minutes)}
    rows = await store.rows(Statement(_COUNTED, values))
    return {row["received_partition"] for row in rows if row["last"] >= max(offsets[row["received_partition"]])}


async def counters(store: ClickHouse, block: Block) -> None:
    """Count the block's nodes again where events and counters differ, and still differ a moment later."""
    workspaces: dict[str, set[UUID]] = {}
    for workspace_id, node in zip(block.column("workspace_id"), block.column("node_id"), strict=True):
        workspaces.setdefault(workspace_id, set()).add(node)
    for workspace_id, nodes in workspaces.items():
        suspects = await _differing(store, workspace_id, sorted(nodes))
        if suspects:
            # another worker's insert reaches the events a moment before their counters
            await asyncio.sleep(_SETTLE_S)
            await recount(store, workspace_id, await _differing(store, workspace_id, suspects))


async def recount(store: ClickHouse, workspace_id: str, nodes: Sequence[UUID]) -> None:
    """Make the counters of these nodes from their events anew; repeating it changes nothing."""
    for some in in_parts(nodes, IDS_PER_COMMAND):
        values = {"workspace": workspace_id, "nodes": some}
        await store.command(Statement(_FORGET, values))
        await store.command(Statement(_RECOUNT, values))


async def stored_outcomes(store: ClickHouse, block: Block) -> None:
    """Count the block's events as stored when the view did not."""
    for attempt in itertools.count():  # another token after each that the store remembers and has no rows of
        uncounted = block.offsets().keys() - await counted(store, block)
        if not uncounted:
            return
        for number in sorted(uncounted):
            await _count_stored(store, block, number, f"stored_outcomes:{number}:{block.token}:{attempt}")


async def _count_stored(store: ClickHouse, block: Block, number: int, token: str) -> None:
    counts: Counter[tuple[str, str, int]] = Counter()
    last: dict[tuple[str, str, int], int] = {}
    columns = (block.column(name) for name in ("workspace_id", "source_id", "received_at"))
    arrivals = zip(*columns, block.received, strict=True)
    for workspace_id, source_id, arrived, (partition, offset) in arrivals:
        if partition == number:
            group = (workspace_id, source_id, minute_of(arrived))
            counts[group] += 1
            last[group] = offset
    made = [(*group, "stored", count, number, last[group]) for group, count in sorted(counts.items())]
    await store.insert(EVENT_OUTCOMES.name, OUTCOME_COLUMNS, list(zip(*made, strict=True)), token=token)


async def _differing(store: ClickHouse, workspace_id: str, nodes: Sequence[UUID]) -> list[UUID]:
    found = await store.columns(Statement(_DIFFERING, {"workspace": workspace_id, "nodes": nodes}))
    return list(found["node_id"])
