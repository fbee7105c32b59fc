"""The recorder's column store in ClickHouse: blocks in, proofs of what is there out."""

from collections.abc import Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.errors import StoreRefused
from cdp_clickhouse.statement import Statement
from cdp_identity.recording.adapters import repair
from cdp_identity.recording.blocks import Block, milliseconds, minute_of
from cdp_identity.recording.protocol import Presence
from cdp_runtime.parts import in_parts
from cdp_schemas.tables import EVENT_OUTCOMES, EVENTS, PROFILES

# a trait is stored as it was sent: no date is guessed from a string, a dot in a name is no path, later names win
_INSERT_SETTINGS: Final[Mapping[str, Mapping[str, Any]]] = {
    PROFILES.name: {
        "json_type_escape_dots_in_keys": 1,
        "type_json_skip_duplicated_paths": 1,
        "input_format_try_infer_dates": 0,
        "input_format_try_infer_datetimes": 0,
        # a boolean in a mixed array stays one: [true, 1] is not [1, 1]
        "input_format_json_read_bools_as_numbers": 0,
        "input_format_json_read_bools_as_strings": 0,
    }
}
_JSON_TYPE: Final = "JSON(max_dynamic_paths = 256)"
_FORGOTTEN: Final = 1 << 62
_OF_ANOTHER_TOKEN: Final = ""  # the part of what was rewritten

# one statement for all partitions of a block sees one moment: the block is there as a whole or not at all, also when
# another heir of the same flush inserts it just now
_THERE: Final = """
SELECT received_partition, received_offset, if(rewritten, '', _part) AS part FROM events
WHERE received_at BETWEEN fromUnixTimestamp64Milli({oldest:Int64}) AND fromUnixTimestamp64Milli({newest:Int64})
  AND received_partition IN {numbers:Array(Int32)}
  AND received_offset BETWEEN {firsts:Array(Int64)}[indexOf({numbers:Array(Int32)}, received_partition)]
                          AND {lasts:Array(Int64)}[indexOf({numbers:Array(Int32)}, received_partition)]
"""
# what the view made of these places, or of later ones of their partitions: no part of it is older than they are
_VIEWED: Final = """
SELECT DISTINCT _part FROM event_outcomes
WHERE received_partition IN {numbers:Array(Int32)} AND outcome = 'stored' AND minute >= toDateTime({oldest:UInt32})
  AND last_offset >= {firsts:Array(Int64)}[indexOf({numbers:Array(Int32)}, received_partition)]
"""
_NEWEST_BLOCK: Final = """
SELECT max(max_block_number) AS newest FROM system.parts
WHERE database = currentDatabase() AND table = {table:String} AND active
"""
_ERASE_EVENTS: Final = """
DELETE FROM events WHERE workspace_id = {workspace:String} AND node_id IN {nodes:Array(UUID)}
    AND received_at <= fromUnixTimestamp64Milli({until:Int64})
"""
# a deleted row hides the older ones, but until they are merged away they would still be on disk; it stays, for it has
# nothing but its key, and hides what a worker that lost its partition may still be writing
_FORGET_PROFILES: Final = """
DELETE FROM profiles WHERE workspace_id = {workspace:String} AND profile_id IN {profiles:Array(UUID)}
    AND version < {versions:Array(UInt64)}[indexOf({profiles:Array(UUID)}, profile_id)] AND NOT deleted
"""


class ClickHouseColumns:
    """The ColumnStore port."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store

    async def insert(self, block: Block) -> None:
        settings = _INSERT_SETTINGS.get(block.table)
        await self._store.insert(block.table, block.names, block.columns, token=block.token, settings=settings)

    async def presence(self, block: Block) -> Presence:
        offsets = block.offsets()
        # before the rows are asked for: the views get theirs after the table
        is_counted = await repair.counted(self._store, block) == offsets.keys()
        if block.table == EVENT_OUTCOMES.name:
            return Presence(frozenset(block.received) if is_counted else frozenset(), _FORGOTTEN)
        ends = {"firsts": [min(some) for some in offsets.values()], "lasts": [max(some) for some in offsets.values()]}
        arrivals = block.column("received_at")
        values = {"numbers": list(offsets), **ends, "oldest": min(arrivals), "newest": max(arrivals)}
        found = await self._store.columns(Statement(_THERE, values))
        rows = zip(found["received_partition"], found["received_offset"], found["part"], strict=True)
        # between them lie offsets of other blocks
        wanted = set(block.received)
        mine = {(number, offset): part for number, offset, part in rows if (number, offset) in wanted}
        parts = set(mine.values())
        if _OF_ANOTHER_TOKEN in parts:
            return Presence(frozenset(mine), _FORGOTTEN, is_counted)
        since = await self._blocks_since(EVENTS.name, parts)
        # its view has a window of its own, which blocks of what was not stored pass through as well
        if mine and (viewed := await self._viewed(values)):
            since = max(since, await self._blocks_since(EVENT_OUTCOMES.name, viewed))
        return Presence(frozenset(mine), since, is_counted)

    async def repair(self, block: Block) -> None:
        if block.table == EVENTS.name:
            await repair.stored_outcomes(self._store, block)
            await repair.counters(self._store, block)

    async def erase(self, workspace_id: str, nodes: Sequence[UUID], until: datetime) -> None:
        for some in in_parts(nodes, repair.IDS_PER_COMMAND):
            values = {"workspace": workspace_id, "nodes": some, "until": milliseconds(until)}
            await self._store.command(Statement(_ERASE_EVENTS, values))
            await repair.recount(self._store, workspace_id, some)

    async def forget(self, workspace_id: str, versions: Mapping[UUID, int]) -> None:
        for some in in_parts(versions, repair.IDS_PER_COMMAND):
            values = {"workspace": workspace_id, "profiles": some, "versions": [versions[one] for one in some]}
            await self._store.command(Statement(_FORGET_PROFILES, values))

    async def acceptable(self, objects: Sequence[str]) -> bool:
        try:
            await self._read(objects)
        except StoreRefused:
            # a quota that is used up or a right that was taken away refuses any object, and is no fault of these
            await self._read(["{}"])
            return False
        return True

    async def _read(self, objects: Sequence[str]) -> None:
        # as one text, which the client cuts where it must: a request's field may be too short for one object alone
        each = "arrayJoin(splitByChar('\n', {objects:String}))"
        asked = Statement(f"SELECT sum(length(toJSONString({each}::{_JSON_TYPE})))", {"objects": "\n".join(objects)})
        await self._store.rows(asked, settings=_INSERT_SETTINGS[PROFILES.name])

    async def _viewed(self, places: Mapping[str, Any]) -> set[str]:
        """Parts of the outcomes that may hold what the view made of a block."""
        since = {"firsts": places["firsts"], "oldest": minute_of(places["oldest"])}
        found = await self._store.columns(Statement(_VIEWED, {"numbers": places["numbers"], **since}))
        return set(found["_part"])

    async def _blocks_since(self, table: str, parts: set[str]) -> int:
        """Blocks inserted after the oldest that these parts hold; merged parts make it an upper bound."""
        if not parts:
            return _FORGOTTEN
        newest = (await self._store.rows(Statement(_NEWEST_BLOCK, {"table": table})))[0]["newest"]
        # partition_min_max_level[_mutation]
        return int(newest) - min(int(part.split("_")[1]) for part in parts)
