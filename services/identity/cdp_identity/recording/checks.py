"""The store -> proof that nothing is lost, doubled or miscounted: queries whose every row is a fault."""

from typing import Any, Final

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement

# events counted by day against their counters
RECOUNT: Final = Statement("""
SELECT workspace_id, event, node_id, day, sum(events) AS events, sum(counted) AS counted,
       min(first_event) AS first_event, min(first_counted) AS first_counted,
       max(last_event) AS last_event, max(last_counted) AS last_counted
FROM (
    SELECT workspace_id, event, node_id, toDate(timestamp) AS day, count() AS events, 0 AS counted,
           min(timestamp) AS first_event, max(timestamp) AS last_event,
           CAST(NULL, 'Nullable(DateTime64(3, \\'UTC\\'))') AS first_counted,
           CAST(NULL, 'Nullable(DateTime64(3, \\'UTC\\'))') AS last_counted
    FROM events GROUP BY workspace_id, event, node_id, day
    UNION ALL
    SELECT workspace_id, event, node_id, day, 0, sum(count), NULL, NULL, min(first_at), max(last_at)
    FROM counters GROUP BY workspace_id, event, node_id, day
)
GROUP BY workspace_id, event, node_id, day
HAVING events != counted OR first_event != first_counted OR last_event != last_counted
LIMIT 100
""")
# each place of events-received at most once
DOUBLED: Final = Statement("""
SELECT received_partition, count() AS events, uniqExact(received_offset) AS places
FROM events GROUP BY received_partition HAVING events != places
""")
# outcomes of events that are there; erased events stay counted, so only more events than outcomes is a fault
UNCOUNTED: Final = Statement("""
SELECT workspace_id, source_id, minute, sum(events) AS events, sum(counted) AS counted
FROM (
    SELECT workspace_id, source_id, toStartOfMinute(received_at) AS minute, count() AS events, 0 AS counted
    FROM events GROUP BY workspace_id, source_id, minute
    UNION ALL
    SELECT workspace_id, source_id, minute, 0, sum(count)
    FROM event_outcomes WHERE outcome = 'stored' GROUP BY workspace_id, source_id, minute
)
GROUP BY workspace_id, source_id, minute HAVING events > counted
LIMIT 100
""")
CHECKS: Final = {"recount": RECOUNT, "doubled": DOUBLED, "uncounted": UNCOUNTED}


async def faults(store: ClickHouse) -> dict[str, list[dict[str, Any]]]:
    """Check -> its faults, for the checks that have any. Exact when no insert is under way."""
    found = {name: await store.rows(check) for name, check in CHECKS.items()}
    return {name: rows for name, rows in found.items() if rows}
