"""Events that are there -> what the views of the events table should have made of them."""

import asyncio
from collections import Counter
from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_identity.recording.blocks import OUTCOME_COLUMNS, Block
from cdp_runtime.parts import in_parts
from cdp_schemas.tables import EVENT_OUTCOMES

_NODES_PER_COMMAND: Final = 50
_NODES_PER_QUESTION: Final = 2000
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
_STORED: Final = """
SELECT max(last_offset) AS last FROM event_outcomes
WHERE received_partition = {number:Int32} AND outcome = 'stored'
"""


async def counters(store: ClickHouse, block: Block) -> None:
    """Count the block's nodes again where events and counters differ, and still differ a moment later."""
    columns = dict(zip(block.names, block.columns, strict=True))
    workspaces: dict[str, set[UUID]] = {}
    for workspace_id, node in zip(columns["workspace_id"], columns["node_id"], strict=True):
        workspaces.setdefault(workspace_id, set()).add(node)
    for workspace_id, nodes in workspaces.items():
        suspects = await _differing(store, workspace_id, sorted(nodes))
        if suspects:
            # another worker's insert reaches the events a moment before their counters
            await asyncio.sleep(_SETTLE_S)
            await recount(store, workspace_id, await _differing(store, workspace_id, suspects))


async def recount(store: ClickHouse, workspace_id: str, nodes: Sequence[UUID]) -> None:
    """Make the counters of these nodes from their events anew; repeating it changes nothing."""
    for some in in_parts(nodes, _NODES_PER_COMMAND):
        values = {"workspace": workspace_id, "nodes": some}
        await store.command(Statement(_FORGET, values))
        await store.command(Statement(_RECOUNT, values))


async def stored_outcomes(store: ClickHouse, block: Block) -> None:
    """Count the block's events as stored when the view did not; each partition's last offset tells."""
    for number, offsets in block.offsets().items():
        rows = await store.rows(Statement(_STORED, {"number": number}))
        if not rows or rows[0]["last"] < max(offsets):
            await _count_stored(store, block, number)


async def _count_stored(store: ClickHouse, block: Block, number: int) -> None:
    columns = dict(zip(block.names, block.columns, strict=True))
    counts: Counter[tuple[str, str, int]] = Counter()
    last: dict[tuple[str, str, int], int] = {}
    arrivals = zip(columns["workspace_id"], columns["source_id"], columns["received_at"], block.received, strict=True)
    for workspace_id, source_id, arrived, (partition, offset) in arrivals:
        if partition == number:
            group = (workspace_id, source_id, arrived // 60_000 * 60)
            counts[group] += 1
            last[group] = offset
    made = [(*group, "stored", count, number, last[group]) for group, count in sorted(counts.items())]
    token = f"stored_outcomes:{number}:{block.token}"
    await store.insert(EVENT_OUTCOMES.name, OUTCOME_COLUMNS, list(zip(*made, strict=True)), token=token)


async def _differing(store: ClickHouse, workspace_id: str, nodes: Sequence[UUID]) -> list[UUID]:
    differing: list[UUID] = []
    for some in in_parts(nodes, _NODES_PER_QUESTION):
        values = {"workspace": workspace_id, "nodes": some}
        differing.extend((await store.columns(Statement(_DIFFERING, values)))["node_id"])
    return differing
