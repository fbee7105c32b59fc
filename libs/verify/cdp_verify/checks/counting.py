"""The log, the counts of the gateway and ClickHouse -> I4 and I6: what was received is counted, exactly once."""

from typing import Final

from cdp_schemas.topics import EVENTS_RECEIVED
from cdp_verify.findings import Finding, finding
from cdp_verify.stores import Stores

_OUTCOMES: Final = "SELECT received_partition, sum(count) AS n FROM event_outcomes GROUP BY received_partition"
_ACCEPTED: Final = """
SELECT workspace_id, source_id, to_char(minute AT TIME ZONE 'UTC', 'YYYY-MM-DD') AS day, sum(count)::bigint AS n
FROM ingest.accepted
WHERE %(workspace)s::text IS NULL OR workspace_id = %(workspace)s
GROUP BY 1, 2, 3
"""
_DECIDED: Final = """
SELECT workspace_id, source_id, toString(toDate(minute)) AS day, sum(count) AS n
FROM event_outcomes WHERE {workspace} GROUP BY workspace_id, source_id, day
"""
_RECOUNT: Final = """
SELECT workspace_id, event, toString(node_id) AS node, day, sum(events) AS there, sum(counted) AS counted_,
       min(first_event) AS first_event_, min(first_counted) AS first_counted_,
       max(last_event) AS last_event_, max(last_counted) AS last_counted_
FROM (
    SELECT workspace_id, event, node_id, toDate(timestamp) AS day, count() AS events, 0 AS counted,
           min(timestamp) AS first_event, max(timestamp) AS last_event,
           CAST(NULL, 'Nullable(DateTime64(3, \\'UTC\\'))') AS first_counted,
           CAST(NULL, 'Nullable(DateTime64(3, \\'UTC\\'))') AS last_counted
    FROM events WHERE {workspace} AND cityHash64(node_id) % {chunks:UInt32} = {chunk:UInt32}
    GROUP BY workspace_id, event, node_id, day
    UNION ALL
    SELECT workspace_id, event, node_id, day, 0, sum(count), NULL, NULL, min(first_at), max(last_at)
    FROM counters WHERE {workspace} AND cityHash64(node_id) % {chunks:UInt32} = {chunk:UInt32}
    GROUP BY workspace_id, event, node_id, day
)
GROUP BY workspace_id, event, node_id, day
HAVING there != counted_ OR (there > 0 AND (first_event_ != first_counted_ OR last_event_ != last_counted_))
"""
_DOUBLED: Final = """
SELECT received_partition, received_offset, count() AS n, any(workspace_id) AS workspace, any(message_id) AS message
FROM events WHERE {workspace} AND received_offset % {chunks:UInt32} = {chunk:UInt32}
GROUP BY received_partition, received_offset HAVING n > 1
"""
# by source: what is there beyond what was counted, and what was counted and is not there; each with its last minute
_UNEQUAL: Final = """
SELECT workspace_id, source_id,
       sumIf(there - counted_, there > counted_) AS uncounted, maxIf(minute, there > counted_) AS uncounted_at,
       sumIf(counted_ - there, there < counted_) AS missing, maxIf(minute, there < counted_) AS missing_at
FROM (
    SELECT workspace_id, source_id, minute, sum(events) AS there, sum(counted) AS counted_
    FROM (
        SELECT workspace_id, source_id, toStartOfMinute(received_at) AS minute, count() AS events, 0 AS counted
        FROM events WHERE {workspace} GROUP BY workspace_id, source_id, minute
        UNION ALL
        SELECT workspace_id, source_id, minute, 0, sum(count)
        FROM event_outcomes WHERE {workspace} AND outcome = 'stored' GROUP BY workspace_id, source_id, minute
    )
    GROUP BY workspace_id, source_id, minute HAVING there != counted_
)
GROUP BY workspace_id, source_id
"""
# an erasure removes what had arrived by then, so nothing is missing from the minutes after the last one
_ERASED: Final = """
SELECT workspace_id, max(until) AS until FROM identity.recorder_erasures
WHERE %(workspace)s::text IS NULL OR workspace_id = %(workspace)s
GROUP BY 1
"""
_TOTAL: Final = "SELECT count() AS n FROM events WHERE {workspace}"


async def check_conservation(stores: Stores) -> Finding:
    """I4, at rest. Events that were erased stay counted: up to a workspace's last erasure it may have fewer of them."""
    result = finding("I4")
    received = "the log was not looked at"
    if stores.log is not None:
        ends = await stores.log.ends(EVENTS_RECEIVED)
        decided = {row["received_partition"]: row["n"] for row in await stores.events(_OUTCOMES)}
        for partition, end in ends.items():
            if decided.get(partition, 0) != end:
                result.wrong(f"{EVENTS_RECEIVED}[{partition}]: {end} received, {decided.get(partition, 0)} outcomes")
        received = f"{sum(ends.values()):,} received events"
    accepted = await stores.postgres.rows(_ACCEPTED, {"workspace": stores.scope.workspace_id})
    outcomes = {_group(row): row["n"] for row in await stores.events(_DECIDED)}
    for row in accepted:
        # fewer accepted than outcomes: the front door's own calls, and counts that died with a gateway
        if row["n"] > outcomes.get(_group(row), 0):
            result.wrong(f"{'/'.join(_group(row))}: {row['n']} accepted, {outcomes.get(_group(row), 0)} outcomes")
    await _against_events(stores, result)
    result.compared = (
        f"{received}, {sum(row['n'] for row in accepted):,} accepted with {sum(outcomes.values()):,} outcomes"
    )
    return result


async def _against_events(stores: Stores, result: Finding) -> None:
    """What was counted as stored, and what is there."""
    rows = await stores.events(_UNEQUAL)
    erasures = await stores.postgres.rows(_ERASED, {"workspace": stores.scope.workspace_id})
    until = {row["workspace_id"]: row["until"] for row in erasures}
    erased = 0
    for row in rows:
        name = f"{row['workspace_id']}/{row['source_id']}"
        if row["uncounted"]:
            at = f"the last of them at {row['uncounted_at']:%Y-%m-%d %H:%M}"
            result.wrong(f"{name}: {row['uncounted']} events are there and not counted as stored, {at}")
        since = until.get(row["workspace_id"])
        if row["missing"] and (since is None or row["missing_at"] > since):
            at = f"the last of them at {row['missing_at']:%Y-%m-%d %H:%M}, and nothing was erased since"
            result.wrong(f"{name}: {row['missing']} events were counted as stored and are not there, {at}")
        else:
            erased += row["missing"]
    if erased:
        result.notes.append(f"{erased:,} events that were counted as stored are gone since, as erasures leave it")


async def check_counters(stores: Stores) -> Finding:
    """I6, in as many chunks as the scope says."""
    result, chunks = finding("I6"), stores.scope.chunks
    for chunk in range(chunks):
        for row in await stores.events(_RECOUNT, chunks=chunks, chunk=chunk):
            what = f"{row['workspace_id']}: {row['event']} of node {row['node']} on {row['day']}"
            result.wrong(f"{what}: {row['there']} events, counted {row['counted_']}, or other first and last times")
        for row in await stores.events(_DOUBLED, chunks=chunks, chunk=chunk):
            place = f"{EVENTS_RECEIVED}[{row['received_partition']}] {row['received_offset']}"
            result.wrong(f"{place} is stored {row['n']} times ({row['workspace']}: {row['message']})")
    result.compared = f"{(await stores.events(_TOTAL))[0]['n']:,} events, by day, name and node"
    return result


def _group(row: dict[str, object]) -> tuple[str, str, str]:
    return str(row["workspace_id"]), str(row["source_id"]), str(row["day"])
