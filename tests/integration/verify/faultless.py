"""A small data set as a faultless platform would leave it in real stores, and the journal of who sent it."""

import json
from collections import Counter
from collections.abc import AsyncIterator, Iterable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from uuid import UUID

import psycopg
from tests.fakes.memberships import hold

from cdp_activation.keys import Keyring
from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_eventlog.log import Partition, Record
from cdp_runtime.secrets import fingerprint
from cdp_schemas.codec import encode
from cdp_schemas.event_names import event_name
from cdp_schemas.events import RefusedEvent
from cdp_schemas.nodes import node_id
from cdp_schemas.segments import MembershipChanged
from cdp_schemas.tables import EVENTS, PROFILES
from cdp_schemas.topics import EVENTS_RECEIVED_DLQ, MEMBERSHIPS_CHANGED, all_topics
from cdp_verify.journal import Entry, Journal, JournalWriter, Run
from cdp_verify.oracle import replay
from cdp_verify.shop import Mix, Shop
from cdp_verify.stores import LogReads, PostgresReads, Stores

WORKSPACES = ("north", "south")
NOW = datetime.now(UTC).replace(microsecond=0)
SECRET_KEY = "the-secret-key-of-the-faultless-platform"
KEYRING = Keyring(SECRET_KEY, "US")
BUYERS = {"field": "computed.purchaseCount", "operator": ">=", "value": 2}
VIEWERS = {
    "operator": "AND",
    "conditions": [
        {"event": "Product Viewed", "count": {"min": 3}, "window": "P30D"},
        {"operator": "NOT", "conditions": [{"event": "Order Refunded", "sum": {"property": "total", "min": 1000000}}]},
    ],
}
POSTGRES_TABLES = (
    "identity.nodes, identity.links, identity.profiles, identity.partitions, identity.recorder_partitions, "
    "identity.recorder_intents, identity.recorder_erasures, segmenter.segments, segmenter.profile_segments, "
    "segmenter.outbox, segmenter.outbox_batches, activation.deliveries, activation.connections, activation.audiences, "
    "activation.destinations, activation.suppressions, activation.key_fingerprint, ingest.accepted, front.quarantine"
)


@dataclass
class FakeLog(LogReads):
    """Topics as lists; everything is in partition 0."""

    topics: dict[str, list[bytes]] = field(default_factory=dict)
    received: int = 0
    forgotten: int = 0

    async def ends(self, topic: str) -> dict[int, int]:
        return {number: self.received if number == 0 else 0 for number in range(all_topics()[topic].partitions)}

    async def begins(self, topic: str) -> dict[int, int]:
        return {number: self.forgotten if number == 0 else 0 for number in range(all_topics()[topic].partitions)}

    async def records(self, topic: str) -> AsyncIterator[Record]:
        for offset, value in enumerate(self.topics.get(topic, [])):
            yield Record(Partition(topic, 0), offset, b"", value, 0)


@dataclass
class Person:
    """A profile in the making."""

    workspace_id: str
    profile_id: UUID
    nodes: dict[UUID, tuple[str, str]] = field(default_factory=dict)


@dataclass
class World:
    """Where everything is, for tests to break."""

    stores: Stores
    postgres_url: str
    journal: Journal
    log: FakeLog

    async def clickhouse(self, sql: str, **values: Any) -> None:
        await self.stores.clickhouse.command(Statement(sql, values), settings={"insert_deduplicate": 0})

    async def postgres(self, sql: str) -> None:
        async with await psycopg.AsyncConnection.connect(self.postgres_url, autocommit=True) as connection:
            await connection.execute(sql)


async def build(folder: Path, clickhouse: ClickHouse, postgres_url: str) -> World:
    """Empties the stores and fills them anew."""
    path = folder / "journal"
    _write_journal(path)
    journal, log = Journal(path), FakeLog()
    stored = [entry for entry in journal.entries() if entry.answer.value != "refused" and not entry.is_faulty]
    people = _people(stored)
    await _fill_clickhouse(clickhouse, stored, people)
    members = _members(stored, people)
    await _fill_postgres(postgres_url, stored, people, members)
    log.received = len(stored)
    log.topics[EVENTS_RECEIVED_DLQ] = [_letter(entry) for entry in journal.entries() if entry.is_faulty]
    log.topics[MEMBERSHIPS_CHANGED] = [
        encode(MembershipChanged(workspace, segment, 1, profile, "entered", 1, NOW).alone())
        for workspace, segment, profile in members
    ]
    stores = Stores(clickhouse, PostgresReads(postgres_url), log, secret_key=SECRET_KEY)
    return World(stores, postgres_url, journal, log)


def _write_journal(path: Path) -> None:
    with JournalWriter(path, Run("t", 7, list(WORKSPACES))) as writer:
        for workspace in WORKSPACES:
            shop = Shop("t", workspace, 7, Mix(people=20, late=0.02, faulty=0.02))
            for status in (200, 200, 200, 200, 200, 503, 400):
                batch = shop.batch(40, NOW)
                number = writer.sent(workspace, batch.events, batch.faulty)
                writer.answered(number, status)


def _letter(entry: Entry) -> bytes:
    raw = encode(entry.event)
    return encode(
        RefusedEvent(
            entry.workspace_id, "web", "ingest", "field_invalid", "It is wrong.", NOW, raw, "", entry.message_id
        )
    )


def _node(entry: Entry) -> UUID:
    user = entry.event.get("userId")
    kind, value = ("user_id", user) if user else ("anonymous_id", entry.event["anonymousId"])
    return node_id(entry.workspace_id, kind, value)


def _people(stored: Iterable[Entry]) -> dict[tuple[str, str], Person]:
    """(workspace, user or lone device) -> profile. A device of the shop belongs to one user for ever."""
    owners = {
        (entry.workspace_id, entry.event["anonymousId"]): entry.event["userId"]
        for entry in stored
        if "userId" in entry.event
    }
    people: dict[tuple[str, str], Person] = {}
    for entry in stored:
        workspace, device = entry.workspace_id, entry.event["anonymousId"]
        user = owners.get((workspace, device))
        named = [("anonymous_id", device)] + ([("user_id", user)] if user else [])
        if user and "userId" in entry.event:
            named += [("anonymous_id", entry.event["previousId"])] if "previousId" in entry.event else []
            named += [("email", entry.event["traits"]["email"])] if "traits" in entry.event else []
        head = node_id(workspace, "user_id", user) if user else node_id(workspace, "anonymous_id", device)
        person = people.setdefault((workspace, user or device), Person(workspace, head))
        person.nodes |= {node_id(workspace, kind, value): (kind, value) for kind, value in named}
    return people


def _members(stored: Iterable[Entry], people: dict[tuple[str, str], Person]) -> list[tuple[str, str, UUID]]:
    views: Counter[tuple[str, UUID]] = Counter()
    profile_of = {node: person.profile_id for person in people.values() for node in person.nodes}
    for entry in stored:
        if entry.event.get("event") == "Product Viewed":
            views[entry.workspace_id, profile_of[_node(entry)]] += 1
    due = replay(stored)
    buyers = [(key[0], "buyers", people[key].profile_id) for key, said in due.items() if said.order_count >= 2]
    viewers = [(workspace, "viewers", profile) for (workspace, profile), count in views.items() if count >= 3]
    return [*buyers, *viewers]


async def _fill_clickhouse(store: ClickHouse, stored: list[Entry], people: dict[tuple[str, str], Person]) -> None:
    for table in ("events", "counters", "profiles", "profile_aliases", "event_outcomes"):
        await store.command(Statement(f"TRUNCATE TABLE {table}"))
    rows = [_event_row(entry, offset) for offset, entry in enumerate(stored)]
    await store.insert("events", EVENTS.columns, list(zip(*rows, strict=True)), token=f"events-{id(stored)}")
    due = replay(stored)
    profiles = [_profile_row(person, due.get(key)) for key, person in people.items()]
    await store.insert("profiles", PROFILES.columns, list(zip(*profiles, strict=True)), token=f"profiles-{id(stored)}")
    moved = [
        (person.workspace_id, node, person.profile_id, 1)
        for person in people.values()
        for node in person.nodes
        if node != person.profile_id
    ]
    columns = ("workspace_id", "node_id", "profile_id", "version")
    await store.insert("profile_aliases", columns, list(zip(*moved, strict=True)), token=f"aliases-{id(stored)}")


def _event_row(entry: Entry, offset: int) -> tuple[Any, ...]:
    event = entry.event
    at = int(datetime.fromisoformat(event["timestamp"]).timestamp() * 1000)
    return (
        *(entry.workspace_id, event_name(event["type"], event.get("event")), _node(entry), at),
        *(int(NOW.timestamp() * 1000), event["type"], entry.message_id, "web", "", event.get("userId", "")),
        *(event["anonymousId"], encode(event.get("properties", {})), encode(event.get("traits", {}))),
        *(encode({"ip": "192.0.2.1"} | event["context"]), 0, offset),
    )


def _profile_row(person: Person, due: Any) -> tuple[Any, ...]:
    identifiers: dict[str, list[str]] = {}
    for kind, value in person.nodes.values():
        identifiers.setdefault(kind, []).append(value)
    ticks = int(NOW.timestamp() * 1000)
    money = (due.ltv_minor, due.refunded_minor, due.order_count) if due else (0, 0, 0)
    return (
        *(person.workspace_id, person.profile_id, 1, 0, ticks, ticks, ticks, ticks),
        *(identifiers, "{}", {}, "USD", *money, None, None),
    )


async def _fill_postgres(
    url: str, stored: list[Entry], people: dict[tuple[str, str], Person], members: list[tuple[str, str, UUID]]
) -> None:
    due = replay(stored)
    async with await psycopg.AsyncConnection.connect(url) as connection, connection.cursor() as cursor:
        await cursor.execute(f"TRUNCATE {POSTGRES_TABLES} CASCADE")
        for key, person in people.items():
            await _fill_person(cursor, person, due.get(key))
        await cursor.execute("INSERT INTO identity.partitions VALUES (0, 1, %s, NULL)", (len(stored),))
        await cursor.execute(
            "INSERT INTO identity.recorder_partitions (topic, partition, epoch, next_offset, next_received_offset) "
            "VALUES ('events-identified', 0, 1, %(n)s, %(n)s)",
            {"n": len(stored)},
        )
        for workspace, count in Counter(entry.workspace_id for entry in stored).items():
            await cursor.execute(
                "INSERT INTO ingest.accepted VALUES (%s, 'web', %s, 'run', %s)", (workspace, NOW, count)
            )
            await _fill_segments(cursor, workspace, [(s, p) for w, s, p in members if w == workspace])
        await _fill_deliveries(cursor, people.values(), {p for _, segment, p in members if segment == "buyers"})
        kept = [fingerprint(SECRET_KEY)]
        await cursor.execute("INSERT INTO activation.key_fingerprint (fingerprint) VALUES (%s)", kept)


async def _fill_person(cursor: psycopg.AsyncCursor[Any], person: Person, due: Any) -> None:
    for node, (kind, value) in person.nodes.items():
        await cursor.execute(
            "INSERT INTO identity.nodes (node_id, profile_id, first_seen, workspace_id, kind, value) "
            "VALUES (%s, %s, %s, %s, %s, %s)",
            (node, person.profile_id, NOW, person.workspace_id, kind, value),
        )
        if node != person.profile_id:
            a, b = sorted((node, person.profile_id))
            await cursor.execute(
                "INSERT INTO identity.links VALUES (%s, %s, %s, %s, 'h', 'm', 'web', NULL)",
                (a, b, NOW, person.workspace_id),
            )
    money = (due.ltv_minor, due.refunded_minor, due.order_count) if due else (0, 0, 0)
    currencies = json.dumps(dict(due.by_currency)) if due and due.by_currency else None
    await cursor.execute(
        "INSERT INTO identity.profiles (workspace_id, profile_id, version, created_at, updated_at, first_seen, "
        "last_seen, ltv_minor, refunded_minor, order_count, by_currency, currency) "
        "VALUES (%s, %s, 1, %s, %s, %s, %s, %s, %s, %s, %s, 'USD')",
        (person.workspace_id, person.profile_id, NOW, NOW, NOW, NOW, *money, currencies),
    )


async def _fill_segments(cursor: psycopg.AsyncCursor[Any], workspace: str, members: list[tuple[str, UUID]]) -> None:
    for segment, rule in (("buyers", BUYERS), ("viewers", VIEWERS)):
        size = sum(named == segment for named, _ in members)
        await cursor.execute(
            "INSERT INTO segmenter.segments (workspace_id, segment_id, name, type, rules, status, size) "
            "VALUES (%s, %s, %s, 'dynamic', %s, 'ready', %s)",
            (workspace, segment, segment, json.dumps(rule), size),
        )
    await cursor.execute(
        "INSERT INTO activation.destinations (workspace_id, destination_id, name, type, settings, credentials) "
        "VALUES (%s, 'hook', 'Hook', 'webhook', '{}', '')",
        (workspace,),
    )
    await cursor.execute(
        "INSERT INTO activation.audiences (workspace_id, audience_id, name, segment_ids) "
        "VALUES (%s, 'a', 'A', '{buyers}')",
        (workspace,),
    )
    await cursor.execute(
        "INSERT INTO activation.connections (workspace_id, audience_id, destination_id, active) "
        "VALUES (%s, 'a', 'hook', true)",
        (workspace,),
    )
    for segment, profile in members:
        await hold(cursor, workspace, segment, profile)


async def _fill_deliveries(cursor: psycopg.AsyncCursor[Any], people: Iterable[Person], buyers: set[UUID]) -> None:
    """Everybody of the audience is there, and was noted by all that is known of them."""
    for person in people:
        if person.profile_id in buyers:
            known = [("profile_id", str(person.profile_id)), *person.nodes.values()]
            keys = [KEYRING.identifier(kind, value) for kind, value in known]
            await cursor.execute(
                "INSERT INTO activation.deliveries (workspace_id, destination_id, audience_id, profile_id, desired, "
                "acknowledged, pending, outcome, sent, keys) "
                "VALUES (%s, 'hook', 'a', %s, true, true, false, 'delivered', '\\x01', %s)",
                (person.workspace_id, person.profile_id, keys),
            )
