"""Journal and stores -> violations of the invariants I1–I6; reads nothing of the pipeline's own bookkeeping."""

import json
from collections import Counter, defaultdict
from dataclasses import dataclass
from typing import Any

import httpx
from aiokafka import AIOKafkaConsumer, TopicPartition
from tests.faults.load import Entry, Journal

from cdp_schemas.topics import EVENTS_RECEIVED, all_topics


@dataclass(frozen=True)
class Oracle:
    """What one thread that replays the journal says of a person."""

    ltv_cents: int
    orders: int


class Stores:
    """Questions to ClickHouse over its HTTP interface, as an operator would ask with curl."""

    def __init__(self, clickhouse_url: str) -> None:
        base, _, self._database = clickhouse_url.rpartition("/")
        self._url = base.replace("default:@", "")

    def rows(self, sql: str) -> list[dict[str, Any]]:
        query = {
            "database": self._database,
            "default_format": "JSONEachRow",
            "output_format_json_quote_64bit_integers": "0",
        }
        answer = httpx.post(self._url, params=query, content=sql, timeout=60)
        answer.raise_for_status()
        return [json.loads(line) for line in answer.text.splitlines()]

    def events(self, prefix: str) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT message_id, event, user_id, anonymous_id, properties, received_partition, received_offset "
            f"FROM events WHERE startsWith(message_id, '{prefix}-')"
        )

    def recount(self) -> list[dict[str, Any]]:
        """Counters that differ from the events they count."""
        raw = "SELECT event, node_id, toDate(timestamp) AS day, count() AS n FROM events GROUP BY event, node_id, day"
        kept = "SELECT event, node_id, day, sum(count) AS n FROM counters GROUP BY event, node_id, day"
        return self.rows(
            f"SELECT event, toString(node_id) AS node, day, a.n AS events, b.n AS counted FROM ({raw}) AS a "
            f"FULL JOIN ({kept}) AS b USING (event, node_id, day) WHERE a.n != b.n"
        )

    def repeated_offsets(self) -> list[dict[str, Any]]:
        return self.rows(
            "SELECT received_partition, count() AS n, uniqExact(received_offset) AS u FROM events "
            "GROUP BY received_partition HAVING n != u"
        )

    def outcomes(self) -> int:
        rows = self.rows("SELECT sum(count) AS n FROM event_outcomes")
        return int(rows[0]["n"])

    def revenue(self, prefix: str) -> dict[str, tuple[int, int]]:
        rows = self.rows(
            "SELECT identifiers['user_id'][1] AS user, ltv_minor, order_count FROM profiles FINAL "
            f"WHERE startsWith(identifiers['user_id'][1], '{prefix}-')"
        )
        return {row["user"]: (int(row["ltv_minor"]), int(row["order_count"])) for row in rows}


def check(journal: Journal, stores: Stores) -> dict[str, list[str]]:
    """Invariant -> its violations; empty when all hold."""
    stored = stores.events(journal.prefix)
    counts = Counter(row["message_id"] for row in stored)
    accepted = journal.having("accepted")
    there = {key: entry for key, entry in journal.entries.items() if key in counts}
    found = {
        "I1 every accepted event exactly once": [
            f"{key} is there {counts[key]} times after {entry.tries} tries"
            for key, entry in accepted.items()
            if counts[key] != 1
        ],
        "I2 refused never, unknown at most once": [
            *(key for key in journal.having("refused") if counts[key]),
            *(key for key in journal.having("unknown") if counts[key] > 1),
        ],
        "I3 nothing that was not sent": [
            *(key for key in counts if key not in journal.entries),
            *(row["message_id"] for row in stored if not _same(row, journal.entries.get(row["message_id"]))),
        ],
        "I5 revenue as the oracle says": _revenue(there, stores.revenue(journal.prefix)),
        "I6 counters equal a recount": [str(row) for row in stores.recount()],
        "I6 offsets are unique": [str(row) for row in stores.repeated_offsets()],
    }
    return {name: violations[:20] for name, violations in found.items() if violations}


def oracle(entries: dict[str, Entry]) -> dict[str, Oracle]:
    """Person -> revenue by the rules of the order ledger: latest state per order, refunds capped at the total."""
    totals: dict[str, dict[str, int]] = defaultdict(dict)
    refunds: dict[str, dict[str, int]] = defaultdict(lambda: defaultdict(int))
    for entry in entries.values():
        event, body = entry.event, entry.event.get("properties", {})
        if event.get("event") == "Order Completed":
            totals[event["userId"]][body["order_id"]] = round(body["revenue"] * 100)
        elif event.get("event") == "Order Refunded":
            refunds[event["userId"]][body["order_id"]] += round(body["total"] * 100)
    return {
        user: Oracle(sum(max(0, total - refunds[user][order]) for order, total in orders.items()), len(orders))
        for user, orders in totals.items()
    }


def _revenue(there: dict[str, Entry], stored: dict[str, tuple[int, int]]) -> list[str]:
    wanted = {user: said.ltv_cents for user, said in oracle(there).items()}
    got = {user: ltv for user, (ltv, _) in stored.items() if ltv or user in wanted}
    return [
        f"{user}: {got.get(user)} and not {cents} cents" for user, cents in wanted.items() if got.get(user) != cents
    ]


def _same(row: dict[str, Any], entry: Entry | None) -> bool:
    if entry is None:
        return False
    event = entry.event
    properties = json.loads(row["properties"] or "{}")
    return (
        row["event"] == (event.get("event") or event["type"])
        and row["user_id"] == event.get("userId", "")
        and row["anonymous_id"] == event["anonymousId"]
        and properties == event.get("properties", {})
    )


async def received(bootstrap: str) -> int:
    """How many events the log holds that the gateway accepted, over all partitions and sources."""
    partitions = [TopicPartition(EVENTS_RECEIVED, n) for n in range(all_topics()[EVENTS_RECEIVED].partitions)]
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap)
    consumer.assign(partitions)
    await consumer.start()
    try:
        return sum((await consumer.end_offsets(partitions)).values())
    finally:
        await consumer.stop()
