"""The proof itself is proved: each way of breaking the platform that it is there for, the right invariant must see."""

import json
import random
from collections import Counter
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from datetime import timedelta
from io import StringIO
from pathlib import Path
from typing import Any
from uuid import UUID

import msgspec
import psycopg
import pytest
from aiokafka.errors import KafkaConnectionError
from rich.console import Console
from tests.answering import answering
from tests.fakes.memberships import hold
from tests.integration.verify.faultless import KEYRING, NOW, FakeLog, World, build

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_eventlog.compression import compress
from cdp_eventlog.log import Record
from cdp_identity.recording.acceptance import accepted
from cdp_identity.recording.adapters.clickhouse import ClickHouseColumns
from cdp_identity.recording.profiles import profile_block
from cdp_schemas.codec import encode
from cdp_schemas.events import RefusedEvent
from cdp_schemas.nodes import node_id
from cdp_schemas.profiles import ProfileUpdated, profile_ref
from cdp_schemas.segments import MembershipChanged, read_memberships
from cdp_schemas.topics import EVENTS_RECEIVED_DLQ, MEMBERSHIPS_CHANGED
from cdp_verify.checks.arrivals import check_arrivals
from cdp_verify.checks.counting import check_conservation
from cdp_verify.checks.deliveries import check_deliveries
from cdp_verify.checks.memberships import check_memberships
from cdp_verify.checks.positions import Positions, check_positions, positions
from cdp_verify.checks.revenue import check_revenue
from cdp_verify.findings import DOUBLED, LOST, OFF_MINOR, Finding
from cdp_verify.journal import Answer
from cdp_verify.proof import Question, prove, prove_journal
from cdp_verify.report import BLIND, show
from cdp_verify.traits import Likeness, compared

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse]
Damage = Callable[[World], Awaitable[None]]
GHOST = UUID("aaaaaaaa-aaaa-5aaa-8aaa-aaaaaaaaaaaa")  # nobody


@pytest.fixture
async def world(tmp_path: Path, proof_columns: ClickHouse, proof_postgres: str) -> World:
    return await build(tmp_path, proof_columns, proof_postgres)


def broken(findings: list[Finding]) -> dict[str, list[str]]:
    return {one.invariant: one.violations for one in findings if one.count}


def message_with(world: World, answer: Answer, *, event: str = "Product Viewed") -> str:
    entries = (entry for entry in world.journal.entries() if entry.answer is answer and not entry.is_faulty)
    return next(entry.message_id for entry in entries if entry.event.get("event") == event)


async def test_a_faultless_platform_breaks_nothing(world: World) -> None:
    findings = await prove(world.stores, Question(world.journal, erased=["nobody-said-this"]))
    assert broken(findings) == {}
    assert {one.invariant for one in findings if one.not_checked} == {"I13", "I14", "I16"}, "they need admin ports"
    assert all(one.compared for one in findings if one.holds), "what was compared is told"
    assert [one.notes for one in findings if one.invariant == "I8"] == [[]], "every rule of the data set can be judged"


@pytest.mark.parametrize(
    "raw", [b'{"a":' * 10_000 + b"1" + b"}" * 10_000, b'{"messageId":"\xff\xfe"}', b"[]"], ids=["deep", "bytes", "list"]
)
async def test_the_poison_in_dead_letters_does_not_end_the_proof(world: World, raw: bytes) -> None:
    letter = RefusedEvent("north", "web", "ingest", "event_invalid", "It is wrong.", NOW, raw)
    world.log.topics[EVENTS_RECEIVED_DLQ].append(encode(letter))
    assert broken(await prove(world.stores, Question(world.journal))) == {}


async def test_buckets_and_chunks_change_nothing(world: World) -> None:
    small = await check_arrivals(world.stores, world.journal, bucket_size=50)
    assert broken(list(small.findings)) == {}
    assert [one.compared for one in small.findings] == [
        one.compared for one in (await check_arrivals(world.stores, world.journal)).findings
    ]
    assert (await check_revenue(world.stores, world.journal, small.arrived, bucket_size=50)).holds
    parts = replace(world.stores, scope=replace(world.stores.scope, chunks=7))
    await world.clickhouse("INSERT INTO counters SELECT * FROM counters LIMIT 1")
    assert "I6" in broken(await prove(parts, Question(world.journal)))


async def test_memberships_part_by_part_change_nothing(world: World) -> None:
    whole, parts = [await check_memberships(world.stores, NOW, per_part=many) for many in (10_000, 4)]
    assert (parts.compared, parts.notes, parts.violations) == (whole.compared, whole.notes, [])
    for damage in (entered_twice, a_change_skipped, a_change_told_and_not_stored, a_change_untold):
        kept = list(world.log.topics[MEMBERSHIPS_CHANGED])
        await damage(world)
        whole, parts = [await check_memberships(world.stores, NOW, per_part=many) for many in (10_000, 4)]
        assert parts.violations == whole.violations != [], damage.__name__
        world.log.topics[MEMBERSHIPS_CHANGED] = kept


@pytest.mark.parametrize("is_first", [True, False])
async def test_what_the_release_before_told_may_lie_before_and_behind_the_rest(world: World, is_first: bool) -> None:
    """It had other keys, so it is in other partitions."""
    told = world.log.topics[MEMBERSHIPS_CHANGED]
    entered = entered_once(world)
    exited = msgspec.structs.replace(entered, change="exited", sequence=2)
    back = msgspec.structs.replace(entered, sequence=3)
    told.remove(encode(entered.alone()))
    earlier, now = [encode(entered), encode(exited)], [encode(back.alone())]
    told += [*earlier, *now] if is_first else [*now, *earlier]
    await world.postgres(
        f"UPDATE segmenter.profile_segments SET sequences = ARRAY[3] WHERE profile_id = '{entered.profile_id}'"
    )
    assert (await check_memberships(world.stores, NOW)).violations == []


async def test_what_the_log_has_forgotten_in_its_time_is_no_fault(world: World) -> None:
    await a_change_untold(world)
    await world.postgres(
        "UPDATE segmenter.profile_segments SET changed_ms = array_fill(0::bigint, ARRAY[cardinality(changed_ms)])"
    )
    assert broken(await prove(world.stores, Question(world.journal))) == {}


async def test_what_was_told_before_the_log_begins_is_no_gap(world: World) -> None:
    await a_first_change_untold(world)
    world.log.forgotten = 1
    assert (await check_memberships(world.stores, NOW)).violations == []


async def test_a_member_by_hand_need_not_be_anybody(world: World) -> None:
    await a_member(world, "by-hand", GHOST)
    found = await check_memberships(world.stores, NOW)
    assert found.violations == [] and "1 members of manual segments are no profiles" in found.notes


async def test_a_rule_that_this_reading_does_not_know_is_passed_over_and_told(world: World) -> None:
    rule = '{"field": "computed.charm", "operator": ">", "value": 1}'
    await world.postgres(f"UPDATE segmenter.segments SET rules = '{rule}' WHERE segment_id = 'viewers'")
    found = await check_memberships(world.stores, NOW)
    assert found.violations == []
    assert [part.partition(":")[0] for part in found.passed_over] == ["north", "south"]


async def test_what_was_told_of_a_deleted_segment_may_be_forgotten(world: World) -> None:
    await a_change_told_and_not_stored(world)
    world.log.topics[MEMBERSHIPS_CHANGED][-1] = world.log.topics[MEMBERSHIPS_CHANGED][-1].replace(b"buyers", b"former")
    assert (await check_memberships(world.stores, NOW)).violations == []


async def drop_one(world: World) -> None:
    message = message_with(world, Answer.ACCEPTED)
    await world.clickhouse(f"DELETE FROM events WHERE message_id = '{message}'")


async def double_one(world: World) -> None:
    message = message_with(world, Answer.ACCEPTED)
    await world.clickhouse(f"INSERT INTO events SELECT * FROM events WHERE message_id = '{message}'")


async def store_a_dead_letter(world: World) -> None:
    faulty = next(entry.message_id for entry in world.journal.entries() if entry.is_faulty)
    await copied(world, f"'{faulty}' AS message_id")


async def lose_a_dead_letter(world: World) -> None:
    faulty = next(e.message_id for e in world.journal.entries() if e.is_faulty and e.answer is Answer.ACCEPTED)
    letters = world.log.topics[EVENTS_RECEIVED_DLQ]
    world.log.topics[EVENTS_RECEIVED_DLQ] = [one for one in letters if faulty.encode() not in one]


async def store_a_refused_one(world: World) -> None:
    await copied(world, f"'{message_with(world, Answer.REFUSED)}' AS message_id")


async def double_an_unanswered_one(world: World) -> None:
    message = message_with(world, Answer.UNKNOWN)
    await world.clickhouse(f"INSERT INTO events SELECT * FROM events WHERE message_id = '{message}'")


async def invent_one(world: World) -> None:
    await copied(world, "'t-north-never-sent' AS message_id")


async def swap_two_tenants(world: World) -> None:
    for workspace, other in (("north", "south"), ("south", "north")):
        message = next(
            entry.message_id
            for entry in world.journal.entries()
            if entry.workspace_id == workspace and entry.answer is Answer.ACCEPTED and not entry.is_faulty
        )
        await copied(world, f"'{other}' AS workspace_id", where=f"message_id = '{message}'")
        await world.clickhouse(f"DELETE FROM events WHERE workspace_id = '{workspace}' AND message_id = '{message}'")


async def change_a_property(world: World) -> None:
    message = message_with(world, Answer.ACCEPTED)
    await copied(world, "'{}' AS properties", where=f"message_id = '{message}'")
    await world.clickhouse(f"DELETE FROM events WHERE message_id = '{message}' AND properties != '{{}}'")


async def an_event_of_another_time(world: World) -> None:
    await rewritten(world, "timestamp - INTERVAL 400 DAY AS timestamp", message_with(world, Answer.ACCEPTED))


async def every_event_hours_early(world: World) -> None:
    """With counters and outcomes that agree with it."""
    for table in ("counters", "event_outcomes"):
        await world.clickhouse(f"TRUNCATE TABLE {table}")
    await rewritten(world, "timestamp - INTERVAL 3 HOUR AS timestamp")


async def an_event_of_another_person(world: World) -> None:
    message = message_with(world, Answer.ACCEPTED)
    await rewritten(world, "(SELECT max(node_id) FROM events WHERE user_id != '') AS node_id", message)


async def an_event_of_another_call(world: World) -> None:
    await rewritten(world, "'page' AS call", message_with(world, Answer.ACCEPTED))


async def an_event_without_its_page(world: World) -> None:
    """What the gateway adds to a context is there still."""
    await rewritten(world, '\'{"ip":"192.0.2.1"}\' AS context', message_with(world, Answer.ACCEPTED))


async def a_device_that_was_never_linked(world: World) -> None:
    """It is somebody of its own, as far as nodes and links tell."""
    await world.postgres(f"UPDATE identity.nodes SET profile_id = node_id WHERE node_id = '{await a_device(world)}'")
    await world.postgres(f"DELETE FROM identity.links WHERE '{await a_device(world)}' IN (a, b)")


async def a_device(world: World) -> UUID:
    """That of somebody known, said in one event with the user."""
    rows = await world.stores.clickhouse.rows(
        Statement("SELECT min(anonymous_id) AS device FROM events WHERE workspace_id = 'north' AND user_id != ''")
    )
    return node_id("north", "anonymous_id", rows[0]["device"])


async def rewritten(world: World, changed: str, message: str = "") -> None:
    """All events, or one, stored otherwise."""
    which = f"message_id = '{message}'" if message else "1"
    await world.clickhouse(
        f"CREATE TABLE moved ENGINE = Memory AS SELECT * REPLACE ({changed}) FROM events WHERE {which}"
    )
    await world.clickhouse(f"DELETE FROM events WHERE {which}")
    await world.clickhouse("INSERT INTO events SELECT * FROM moved")
    await world.clickhouse("DROP TABLE moved")


async def copied(world: World, changed: str, *, where: str = "1") -> None:
    """One event more, like another but for a column."""
    await world.clickhouse(f"INSERT INTO events SELECT * REPLACE ({changed}) FROM events WHERE {where} LIMIT 1")


async def an_outcome_too_many(world: World) -> None:
    await world.clickhouse("INSERT INTO event_outcomes VALUES ('north', 'web', now(), 'duplicate', 1, 0, 0)")


async def an_event_without_outcome(world: World) -> None:
    world.log.received += 1


async def all_events_gone_with_their_counters(world: World) -> None:
    for table in ("events", "counters"):
        await world.clickhouse(f"TRUNCATE TABLE {table}")


async def one_cent_more(world: World) -> None:
    await world.postgres("UPDATE identity.profiles SET ltv_minor = ltv_minor + 1 WHERE ltv_minor = "
                         "(SELECT max(ltv_minor) FROM identity.profiles)")  # fmt: skip


async def a_yen_less(world: World) -> None:
    await world.postgres(
        "UPDATE identity.profiles SET by_currency = jsonb_set(by_currency, '{JPY}', '1') WHERE profile_id = "
        "(SELECT profile_id FROM identity.profiles WHERE by_currency ? 'JPY' LIMIT 1)"
    )


async def one_cent_less_in_the_replica(world: World) -> None:
    changed = "ltv_minor - 1 AS ltv_minor, version + 1 AS version"
    await world.clickhouse(
        f"INSERT INTO profiles SELECT * REPLACE ({changed}) FROM profiles "
        "WHERE mapContains(identifiers, 'user_id') LIMIT 1"
    )


async def a_counter_off_by_one(world: World) -> None:
    await world.clickhouse("INSERT INTO counters SELECT * REPLACE (1 AS count) FROM counters LIMIT 1")


async def a_lost_link(world: World) -> None:
    await world.postgres(
        "UPDATE identity.links SET status = 'v' WHERE (a, b) = (SELECT a, b FROM identity.links LIMIT 1)"
    )


async def a_node_in_the_wrong_profile(world: World) -> None:
    users = "SELECT profile_id FROM identity.nodes WHERE kind = 'user_id' AND workspace_id = 'north' ORDER BY value"
    await world.postgres(
        f"UPDATE identity.nodes SET profile_id = ({users} DESC LIMIT 1) "
        f"WHERE node_id = ({users.replace('SELECT profile_id', 'SELECT node_id')} LIMIT 1)"
    )


async def an_identifier_less(world: World) -> None:
    await world.clickhouse(
        "INSERT INTO profiles SELECT * REPLACE (map() AS identifiers, version + 1 AS version) FROM profiles LIMIT 1"
    )


async def an_alias_astray(world: World) -> None:
    await world.clickhouse(
        "INSERT INTO profile_aliases SELECT * REPLACE (node_id AS profile_id, version + 1 AS version) "
        "FROM profile_aliases LIMIT 1"
    )


async def a_golden_record_of_nobody(world: World) -> None:
    """Its tombstone was lost on the way to the replica."""
    await world.clickhouse(
        f"INSERT INTO profiles SELECT * REPLACE ('{GHOST}'::UUID AS profile_id) FROM profiles FINAL LIMIT 1"
    )


async def an_older_version_in_the_replica(world: World) -> None:
    await world.postgres("UPDATE identity.profiles SET version = 2 WHERE workspace_id = 'south'")


async def other_money_in_the_replica(world: World) -> None:
    """At the same version; and nobody has a journal of it."""
    await replaced(world, "ltv_minor + 1 AS ltv_minor")


async def other_refunds_in_the_replica(world: World) -> None:
    await replaced(world, "refunded_minor + 1 AS refunded_minor")


async def another_currency_in_the_replica(world: World) -> None:
    await replaced(world, "'EUR' AS currency")


async def other_times_in_the_replica(world: World) -> None:
    await replaced(world, "last_seen - INTERVAL 1 DAY AS last_seen")


async def an_order_that_was_never_placed_in_the_replica(world: World) -> None:
    await replaced(world, "last_seen AS last_order_at")


async def replaced(world: World, changed: str) -> None:
    await world.clickhouse(f"INSERT INTO profiles SELECT * REPLACE ({changed}) FROM profiles FINAL LIMIT 1")


async def a_visitor_who_was_forgotten(world: World) -> None:
    """Node and profile are gone from both stores, the events are there."""
    rows = await world.stores.postgres.rows(
        "SELECT min(profile_id::text) AS profile FROM identity.profiles AS p "
        "WHERE NOT EXISTS (SELECT FROM segmenter.memberships AS m WHERE m.profile_id = p.profile_id) "
        "AND NOT EXISTS (SELECT FROM identity.nodes AS n WHERE n.profile_id = p.profile_id AND n.kind = 'user_id')"
    )
    for table in ("identity.nodes", "identity.profiles"):
        await world.postgres(f"DELETE FROM {table} WHERE profile_id = '{rows[0]['profile']}'")
    await world.clickhouse(f"DELETE FROM profiles WHERE profile_id = '{rows[0]['profile']}'")


async def another_trait_in_the_replica(world: World) -> None:
    await world.postgres("UPDATE identity.profiles SET traits = '{\"plan\": \"gold\"}' WHERE workspace_id = 'north'")
    await world.clickhouse('INSERT INTO profiles SELECT * REPLACE (\'{"plan":"free"}\'::JSON AS traits) FROM profiles')


async def another_consent_in_the_replica(world: World) -> None:
    await world.postgres("UPDATE identity.profiles SET consent = '{\"ads\": false}' WHERE workspace_id = 'north'")


async def entered_twice(world: World) -> None:
    first = world.log.topics[MEMBERSHIPS_CHANGED][0]
    world.log.topics[MEMBERSHIPS_CHANGED].append(first.replace(b'"sequence":1', b'"sequence":2'))


async def a_change_skipped(world: World) -> None:
    first = world.log.topics[MEMBERSHIPS_CHANGED][0]
    world.log.topics[MEMBERSHIPS_CHANGED].append(first.replace(b'"sequence":1', b'"sequence":3'))


async def a_change_untold(world: World) -> None:
    world.log.topics[MEMBERSHIPS_CHANGED].pop()


async def a_first_change_untold(world: World) -> None:
    """Only the third one was told."""
    told, entered = world.log.topics[MEMBERSHIPS_CHANGED], entered_once(world)
    told.remove(encode(entered.alone()))
    told.append(encode(msgspec.structs.replace(entered, sequence=3).alone()))
    await world.postgres(
        f"UPDATE segmenter.profile_segments SET sequences = ARRAY[3] WHERE profile_id = '{entered.profile_id}'"
    )


async def a_change_told_and_not_stored(world: World) -> None:
    tell(world, "buyers", GHOST)


async def a_member_who_was_merged_away(world: World) -> None:
    """Table, message, size and ledger agree."""
    await a_member(world, "buyers", GHOST)
    await world.postgres(
        "INSERT INTO activation.deliveries (workspace_id, destination_id, audience_id, profile_id, desired, "
        f"acknowledged, pending) VALUES ('north', 'hook', 'a', '{GHOST}', true, true, false)"
    )


def entered_once(world: World) -> MembershipChanged:
    """The only change of somebody."""
    told = world.log.topics[MEMBERSHIPS_CHANGED]
    times = Counter(read_memberships(value).profile_id for value in told)
    of_one = next(value for value in told if times[read_memberships(value).profile_id] == 1)
    (entered,) = read_memberships(of_one).each()
    return entered


async def a_member(world: World, segment: str, profile: UUID) -> None:
    """One more, as table, messages and size tell."""
    async with await psycopg.AsyncConnection.connect(world.postgres_url) as connection:
        await hold(connection, "north", segment, profile)
    await world.postgres(
        f"UPDATE segmenter.segments SET size = size + 1 WHERE (workspace_id, segment_id) = ('north', '{segment}')"
    )
    tell(world, segment, profile)


def tell(world: World, segment: str, profile: UUID) -> None:
    change = MembershipChanged("north", segment, 1, profile, "entered", 1, NOW)
    world.log.topics[MEMBERSHIPS_CHANGED].append(encode(change.alone()))


async def a_segment_that_is_never_built(world: World) -> None:
    await world.postgres("UPDATE segmenter.segments SET status = 'building' WHERE segment_id = 'viewers'")


async def a_size_off_by_one(world: World) -> None:
    await world.postgres("UPDATE segmenter.segments SET size = size + 1 WHERE segment_id = 'buyers'")


async def a_member_that_should_not_be_one(world: World) -> None:
    """Table, messages and sizes agree; only the rule does not."""
    rows = await world.stores.postgres.rows(
        "SELECT profile_id FROM identity.profiles WHERE workspace_id = 'north' AND order_count < 2 LIMIT 1"
    )
    await a_member(world, "buyers", rows[0]["profile_id"])


async def an_unacknowledged_member(world: World) -> None:
    await world.postgres("UPDATE activation.deliveries SET acknowledged = false WHERE workspace_id = 'south'")


async def a_member_nobody_delivers(world: World) -> None:
    await world.postgres("DELETE FROM activation.deliveries WHERE workspace_id = 'north'")


async def a_removal_given_up(world: World) -> None:
    await left_there(world, "acknowledged, outcome, last_error", "true, 'gave_up', 'it answers 500'")


async def a_removal_refused(world: World) -> None:
    await left_there(world, "acknowledged, outcome, last_error", "true, 'rejected', 'no such row'")


async def a_removal_forgotten(world: World) -> None:
    """It may have arrived: nobody acknowledged it."""
    await left_there(world, "acknowledged, outcome", "false, NULL")


async def left_there(world: World, columns: str, values: str) -> None:
    """Somebody erased, who was sent and may be at the platform still."""
    await world.postgres(
        "INSERT INTO activation.deliveries (workspace_id, destination_id, audience_id, profile_id, desired, pending, "
        f"cause, sent, {columns}) VALUES ('north', 'hook', 'a', '{GHOST}', false, false, 'erased', '\\x01', {values})"
    )


async def a_suppression_that_took_nobody_off(world: World) -> None:
    await suppressed(world, "user_id")


async def a_suppression_of_what_became_known_later(world: World) -> None:
    """Who was sent without it is not looked at again."""
    await world.postgres("UPDATE activation.deliveries SET keys = '{}'")
    await suppressed(world, "email")


async def a_removal_for_a_suppression_given_up(world: World) -> None:
    who = await suppressed(world, "profile_id")
    await world.postgres(
        "UPDATE activation.deliveries SET outcome = 'gave_up', last_error = 'it answers 500', cause = 'suppressed' "
        f"WHERE profile_id = '{who}'"
    )


async def a_member_held_by_no_suppression(world: World) -> None:
    """That of another workspace, and one for another destination, are none."""
    who = await a_delivered_one(world)
    await held(world, who, "suppressed")
    await suppress(world, "south", "profile_id", str(who))
    await suppress(world, "north", "profile_id", str(who), destination="elsewhere")


async def a_member_without_consent(world: World) -> None:
    await asks_for(world, '{"consentPurposes": ["ads", "email"]}')
    await world.postgres("UPDATE identity.profiles SET consent = '{\"email\": true}' WHERE workspace_id = 'north'")


async def a_member_who_withdrew_consent(world: World) -> None:
    await asks_for(world, '{"consentPurposes": ["ads"], "consentWhenUnknown": "allow"}')
    who = await a_delivered_one(world)
    await world.postgres(f"UPDATE identity.profiles SET consent = '{{\"ads\": false}}' WHERE profile_id = '{who}'")


async def a_member_held_for_a_consent_that_is_there(world: World) -> None:
    await asks_for(world, '{"consentPurposes": ["ads"]}')
    await world.postgres("UPDATE identity.profiles SET consent = '{\"ads\": true}'")
    await held(world, await a_delivered_one(world), "no_consent")


async def members_of_an_audience_that_was_switched_off(world: World) -> None:
    await world.postgres("UPDATE activation.connections SET active = false WHERE workspace_id = 'north'")


async def members_of_an_audience_that_was_deleted(world: World) -> None:
    await world.postgres("UPDATE activation.audiences SET deleted_at = now() WHERE workspace_id = 'north'")


async def a_member_half_sent(world: World) -> None:
    """Settled, as if its call had been answered."""
    await held(world, await a_delivered_one(world), "sending")


async def a_member_acknowledged_who_is_not_there(world: World) -> None:
    who = await a_delivered_one(world)
    await world.postgres(f"UPDATE activation.deliveries SET sent = NULL WHERE profile_id = '{who}'")


async def a_delivered_one(world: World) -> UUID:
    rows = await world.stores.postgres.rows(
        "SELECT profile_id FROM activation.deliveries WHERE workspace_id = 'north' ORDER BY profile_id LIMIT 1"
    )
    found: UUID = rows[0]["profile_id"]
    return found


async def suppressed(world: World, kind: str) -> UUID:
    """Somebody who is at the destination, by what is known of them, written otherwise."""
    rows = await world.stores.postgres.rows(
        "SELECT profile_id, value FROM activation.deliveries JOIN identity.nodes USING (workspace_id, profile_id) "
        f"WHERE workspace_id = 'north' AND kind = '{'user_id' if kind == 'profile_id' else kind}' LIMIT 1"
    )
    who: UUID = rows[0]["profile_id"]
    value = str(who) if kind == "profile_id" else rows[0]["value"]
    await suppress(world, "north", kind, f" {value.upper() if kind == 'email' else value} ")
    return who


async def suppress(world: World, workspace: str, kind: str, value: str, destination: str = "") -> None:
    await world.postgres(
        "INSERT INTO activation.suppressions (workspace_id, suppression_id, destination_id, kind, value_key, hint) "
        f"VALUES ('{workspace}', 's', '{destination}', '{kind}', {KEYRING.identifier(kind, value)}, '')"
    )


async def held(world: World, who: UUID, outcome: str) -> None:
    await world.postgres(
        "UPDATE activation.deliveries SET acknowledged = false, sent = NULL, keys = NULL, "
        f"outcome = '{outcome}' WHERE profile_id = '{who}'"
    )


async def asks_for(world: World, settings: str) -> None:
    await world.postgres(f"UPDATE activation.destinations SET settings = '{settings}' WHERE workspace_id = 'north'")


async def an_offset_ahead_of_its_effects(world: World) -> None:
    await world.postgres("UPDATE identity.recorder_partitions SET next_received_offset = next_received_offset + 1")


async def an_offset_beyond_the_log(world: World) -> None:
    await world.postgres("UPDATE identity.partitions SET next_offset = next_offset + 1")


async def the_resolvers_position_gone(world: World) -> None:
    await world.postgres("TRUNCATE identity.partitions")


async def the_recorders_position_gone(world: World) -> None:
    await world.postgres("TRUNCATE identity.recorder_partitions")


async def effects_ahead_of_the_offset(world: World) -> None:
    await world.postgres("UPDATE identity.recorder_partitions SET next_received_offset = next_received_offset - 1")


async def a_canary_across_tenants(world: World) -> None:
    await world.postgres(
        "UPDATE identity.profiles SET traits = '{\"plan\": \"t.south.canary\"}' WHERE workspace_id = 'north'"
    )


async def a_canary_in_a_neighbours_event(world: World) -> None:
    await copied(world, '\'{"ip": "t.north.canary"}\' AS context', where="workspace_id = 'south'")


async def a_letter_in_the_wrong_workspace(world: World) -> None:
    letters = world.log.topics[EVENTS_RECEIVED_DLQ]
    letters[0] = letters[0].replace(b'"workspaceId":"north"', b'"workspaceId":"south"')


async def a_letter_without_reason(world: World) -> None:
    world.log.topics[EVENTS_RECEIVED_DLQ].append(encode(RefusedEvent("north", "web", "identity", "", "x", NOW, b"{}")))


DAMAGES: list[tuple[Damage, str]] = [
    (drop_one, "I1"),
    (double_one, "I1"),
    (double_one, "I6"),
    (store_a_dead_letter, "I1"),
    (lose_a_dead_letter, "I1"),
    (store_a_refused_one, "I2"),
    (double_an_unanswered_one, "I2"),
    (invent_one, "I3"),
    (swap_two_tenants, "I3"),
    (swap_two_tenants, "I11"),
    (change_a_property, "I3"),
    (an_event_of_another_time, "I3"),
    (every_event_hours_early, "I3"),
    (an_event_of_another_person, "I3"),
    (an_event_of_another_call, "I3"),
    (an_event_without_its_page, "I3"),
    (a_device_that_was_never_linked, "I3"),
    (an_outcome_too_many, "I4"),
    (an_event_without_outcome, "I4"),
    (all_events_gone_with_their_counters, "I4"),
    (one_cent_more, "I5"),
    (a_yen_less, "I5"),
    (one_cent_less_in_the_replica, "I5"),
    (a_counter_off_by_one, "I6"),
    (a_lost_link, "I7"),
    (a_node_in_the_wrong_profile, "I7"),
    (an_identifier_less, "I7"),
    (an_alias_astray, "I7"),
    (a_golden_record_of_nobody, "I7"),
    (an_older_version_in_the_replica, "I7"),
    (another_trait_in_the_replica, "I7"),
    (another_consent_in_the_replica, "I7"),
    (other_money_in_the_replica, "I7"),
    (other_refunds_in_the_replica, "I7"),
    (another_currency_in_the_replica, "I7"),
    (other_times_in_the_replica, "I7"),
    (an_order_that_was_never_placed_in_the_replica, "I7"),
    (a_visitor_who_was_forgotten, "I7"),
    (entered_twice, "I8"),
    (a_change_skipped, "I8"),
    (a_change_untold, "I8"),
    (a_first_change_untold, "I8"),
    (a_change_told_and_not_stored, "I8"),
    (a_member_who_was_merged_away, "I8"),
    (a_size_off_by_one, "I8"),
    (a_segment_that_is_never_built, "I8"),
    (a_member_that_should_not_be_one, "I8"),
    (an_unacknowledged_member, "I9"),
    (a_member_nobody_delivers, "I9"),
    (a_removal_given_up, "I9"),
    (a_removal_refused, "I9"),
    (a_removal_forgotten, "I9"),
    (a_suppression_that_took_nobody_off, "I9"),
    (a_suppression_of_what_became_known_later, "I9"),
    (a_removal_for_a_suppression_given_up, "I9"),
    (a_member_held_by_no_suppression, "I9"),
    (a_member_without_consent, "I9"),
    (a_member_who_withdrew_consent, "I9"),
    (a_member_held_for_a_consent_that_is_there, "I9"),
    (members_of_an_audience_that_was_switched_off, "I9"),
    (members_of_an_audience_that_was_deleted, "I9"),
    (a_member_half_sent, "I9"),
    (a_member_acknowledged_who_is_not_there, "I9"),
    (an_offset_ahead_of_its_effects, "I10"),
    (an_offset_beyond_the_log, "I10"),
    (effects_ahead_of_the_offset, "I10"),
    (the_resolvers_position_gone, "I10"),
    (the_recorders_position_gone, "I10"),
    (a_canary_across_tenants, "I11"),
    (a_canary_in_a_neighbours_event, "I11"),
    (a_letter_in_the_wrong_workspace, "I11"),
    (a_letter_without_reason, "I15"),
]


@pytest.mark.parametrize(("damage", "invariant"), DAMAGES, ids=[f"{b}-{a.__name__}" for a, b in DAMAGES])
async def test_every_damage_is_seen_by_the_right_invariant(world: World, damage: Damage, invariant: str) -> None:
    await damage(world)
    assert invariant in broken(await prove(world.stores, Question(world.journal)))


async def test_what_is_lost_doubled_and_off_is_summed(world: World) -> None:
    faultless = {one.invariant: +one.sums for one in await prove_journal(world.stores, world.journal)}
    assert not any(faultless.values())
    gone, *_, twice = [
        entry.message_id
        for entry in world.journal.entries()
        if entry.answer is Answer.ACCEPTED and entry.event.get("event") == "Product Viewed"
    ]
    await world.clickhouse(f"DELETE FROM events WHERE message_id = '{gone}'")
    for _ in range(2):
        await world.clickhouse(f"INSERT INTO events SELECT * FROM events WHERE message_id = '{twice}' LIMIT 1")
    await world.postgres("UPDATE identity.profiles SET ltv_minor = ltv_minor - 7 WHERE ltv_minor = "
                         "(SELECT max(ltv_minor) FROM identity.profiles)")  # fmt: skip
    found = {one.invariant: one.sums for one in await prove_journal(world.stores, world.journal)}
    assert (found["I1"][LOST], found["I1"][DOUBLED], found["I5"][OFF_MINOR]) == (1, 2, 7)


async def test_a_position_that_goes_back_is_seen(world: World) -> None:
    now = await positions(world.stores)
    earlier = Positions({place: (epoch, at + 1) for place, (epoch, at) in now.at.items()}, {}, frozenset())
    assert (await check_positions(world.stores, earlier)).count == 2
    assert (await check_positions(world.stores, now)).holds


@pytest.mark.parametrize(("since_arrival", "faults"), [(timedelta(seconds=30), 0), (-timedelta(minutes=1), 1)])
async def test_events_may_be_gone_only_up_to_the_last_erasure(
    world: World, since_arrival: timedelta, faults: int
) -> None:
    """All events of the data set arrived at one moment; those of another workspace's erasure excuse nothing."""
    await world.postgres(
        "INSERT INTO identity.recorder_erasures (workspace_id, node_id, until) "
        f"VALUES ('north', '{GHOST}', '{NOW + since_arrival}')"
    )
    await world.clickhouse("DELETE FROM events WHERE workspace_id = 'north' AND user_id != ''")
    found = await check_conservation(world.stores)
    assert (found.count, len(found.notes)) == (faults, 1 - faults)
    await world.clickhouse("DELETE FROM events WHERE workspace_id = 'south'")
    assert (await check_conservation(world.stores)).count == faults + 1


async def test_a_question_that_does_not_fit_the_tables_passes_nothing(world: World) -> None:
    await world.postgres("ALTER TABLE activation.deliveries RENAME COLUMN acknowledged TO told")
    await world.clickhouse("RENAME TABLE counters TO counters_elsewhere")
    try:
        found = broken(await prove(world.stores, Question(world.journal)))
    finally:
        await world.postgres("ALTER TABLE activation.deliveries RENAME COLUMN told TO acknowledged")
        await world.clickhouse("RENAME TABLE counters_elsewhere TO counters")
    assert "acknowledged" in found.pop("I9")[0] and "counters" in found.pop("I6")[0]
    assert found == {}, "it hides none of the others"


class Away(FakeLog):
    """Kafka, which does not answer."""

    async def ends(self, topic: str) -> dict[int, int]:
        raise KafkaConnectionError

    async def records(self, topic: str) -> AsyncIterator[Record]:
        raise KafkaConnectionError
        yield


async def test_what_a_store_did_not_let_anybody_look_at_is_told_from_what_nobody_asked_for(world: World) -> None:
    findings = await prove(replace(world.stores, log=Away()), Question())
    assert {one.invariant for one in findings if one.is_blind} == {"I4", "I8", "I10", "I15"}
    assert show(findings, Console(file=StringIO())) == BLIND


async def test_members_left_knowingly_and_removals_that_go_on_are_no_fault(world: World) -> None:
    await a_removal_given_up(world)
    await world.postgres("UPDATE activation.destinations SET deleted_at = now() WHERE workspace_id = 'north'")
    assert (await check_deliveries(world.stores)).holds
    await world.postgres(
        "UPDATE activation.destinations SET deleted_at = NULL; "
        "UPDATE activation.deliveries SET pending = true, outcome = 'retrying', "
        f"next_attempt_at = now() + interval '1 hour' WHERE profile_id = '{GHOST}'"
    )
    assert (await check_deliveries(world.stores)).holds


async def test_who_is_kept_away_by_a_gate_is_no_fault(world: World) -> None:
    who = await suppressed(world, "email")
    await held(world, who, "suppressed")
    assert (await check_deliveries(world.stores)).violations == []
    await world.postgres("TRUNCATE activation.suppressions")
    await held(world, who, "no_consent")
    await asks_for(world, '{"consentPurposes": ["ads"], "consentWhenUnknown": "allow"}')
    await world.postgres(f"UPDATE identity.profiles SET consent = '{{\"ads\": false}}' WHERE profile_id = '{who}'")
    assert (await check_deliveries(world.stores)).violations == []


async def test_who_is_suppressed_by_an_id_of_before_a_sign_in_is_no_fault(world: World) -> None:
    who = await a_delivered_one(world)
    rows = await world.stores.postgres.rows(
        f"SELECT node_id FROM identity.nodes WHERE profile_id = '{who}' AND kind = 'anonymous_id' LIMIT 1"
    )
    await suppress(world, "north", "profile_id", str(rows[0]["node_id"]))
    assert (await check_deliveries(world.stores)).count == 1, "who is there under the new one"
    await held(world, who, "suppressed")
    assert (await check_deliveries(world.stores)).violations == []


async def test_a_suppression_elsewhere_concerns_nobody_here(world: World) -> None:
    who = str(await a_delivered_one(world))
    await suppress(world, "north", "profile_id", who, destination="elsewhere")
    await suppress(world, "south", "profile_id", who)
    assert (await check_deliveries(world.stores)).violations == []


async def test_a_removal_for_privacys_sake_that_goes_on_is_no_fault(world: World) -> None:
    """It waits for an attempt, or for a destination that is switched off; both are told."""
    who = await suppressed(world, "user_id")
    await world.postgres(
        "UPDATE activation.deliveries SET pending = true, outcome = 'retrying', "
        f"next_attempt_at = now() + interval '1 hour' WHERE profile_id = '{who}'"
    )
    found = await check_deliveries(world.stores)
    assert found.holds and "1 deliveries wait for another attempt" in found.notes
    await world.postgres("UPDATE activation.destinations SET enabled = false WHERE workspace_id = 'north'")
    await world.postgres(f"UPDATE activation.deliveries SET next_attempt_at = now() WHERE profile_id = '{who}'")
    found = await check_deliveries(world.stores)
    assert found.holds and any(note.startswith("1 deliveries wait where") for note in found.notes)


async def test_under_another_secret_key_only_what_was_noted_is_compared(world: World) -> None:
    """The list would match nobody, and everybody who is held would be held for nothing."""
    stranger = replace(world.stores, secret_key="another-secret-key-of-thirty-two-characters")
    who = await suppressed(world, "user_id")
    found = await check_deliveries(stranger)
    assert found.count == 1 and any(note.startswith("CDP_SECRET_KEY is not") for note in found.notes)
    await held(world, who, "suppressed")
    assert (await check_deliveries(stranger)).violations == []


async def test_a_telephone_number_that_is_not_written_in_full_holds_whom_it_names(world: World) -> None:
    who = await a_delivered_one(world)
    traits = '{"phone": "(201) 555-0123"}'
    await world.postgres(f"UPDATE identity.profiles SET traits = '{traits}' WHERE profile_id = '{who}'")
    await suppress(world, "north", "phone", "+1 201 555 0123")
    await held(world, who, "suppressed")
    assert (await check_deliveries(world.stores)).violations == []


async def test_a_change_of_a_member_that_was_given_up_is_told(world: World) -> None:
    await world.postgres(
        "UPDATE activation.deliveries SET outcome = 'gave_up', sent = '\\x01' WHERE workspace_id = 'north'"
    )
    found = await check_deliveries(world.stores)
    assert found.holds and "an older form of them may be there" in found.notes[0]


async def test_the_webhook_is_compared_member_by_member(world: World) -> None:
    members = await world.stores.postgres.rows(
        "SELECT audience_id, profile_id FROM activation.deliveries WHERE acknowledged ORDER BY profile_id"
    )
    held = [profile_ref(row["profile_id"]) for row in members]
    in_doubt, stranger = profile_ref(GHOST), profile_ref(UUID(int=7))
    await left_there(world, "acknowledged, outcome", "false, 'gave_up'")
    await world.postgres(f"UPDATE activation.deliveries SET desired = true WHERE profile_id = '{GHOST}'")
    await world.postgres(
        "UPDATE activation.audiences SET segment_ids = '{}'"
    )  # who is a member is not the question here
    for there, wrong in ((held, ""), ([*held, in_doubt], ""), ([*held[1:], stranger], held[0])):
        with webhook(there) as url:
            await point_webhooks(world, f"{url}/webhook")
            found = await check_deliveries(replace(world.stores, standin_url=url))
        said = [one for one in found.violations if "webhook" in one]
        assert len(said) == 2 * bool(wrong), said
        assert wrong in " ".join(said) and (stranger in " ".join(said)) == bool(wrong)


async def test_webhooks_elsewhere_are_not_asked_of_the_stand_in(world: World) -> None:
    await point_webhooks(world, "https://crm.example.com/webhook")
    with webhook([]) as url:
        found = await check_deliveries(replace(world.stores, standin_url=url))
    assert found.holds and "elsewhere, and were not asked" in found.notes[-1]


async def test_a_call_with_the_id_of_another_one_and_another_body_is_seen(world: World) -> None:
    calls = [{"note": ""}, {"note": "seen before"}, {"note": "seen before with another body"}]
    with answering(lambda path: (200, encode(calls if "/calls" in path else []))) as url:
        found = await check_deliveries(replace(world.stores, standin_url=url))
    assert found.violations == ["1 calls of the webhook had the id of another one, and another body"]


async def point_webhooks(world: World, url: str) -> None:
    await world.postgres(f"UPDATE activation.destinations SET settings = jsonb_build_object('url', '{url}')")


def webhook(members: Sequence[str]) -> AbstractContextManager[str]:
    """A stand-in whose webhook was told of these."""
    body = encode([{"profileId": one} for one in members])
    return answering(lambda _: (200, body))


async def test_who_was_kept_apart_or_erased_may_be_two_profiles(world: World) -> None:
    await a_device_that_was_never_linked(world)
    device = await a_device(world)
    for status in ("r", "v"):
        await world.postgres(
            "INSERT INTO identity.links SELECT least(node_id, other), greatest(node_id, other), now(), 'north', "
            f"'{status}', 'm', 'web', NULL FROM (SELECT node_id, '{device}'::uuid AS other FROM identity.nodes "
            "WHERE workspace_id = 'north' AND kind = 'user_id') AS users"
        )
        assert "I3" not in broken(await prove_journal(world.stores, world.journal)), status
        await world.postgres(f"DELETE FROM identity.links WHERE '{device}' IN (a, b)")
    await world.postgres(f"UPDATE identity.nodes SET erased_at = now() WHERE node_id = '{device}'")
    assert "I3" not in broken(await prove_journal(world.stores, world.journal))


async def test_what_the_column_store_makes_of_traits_is_no_violation(world: World) -> None:
    chance = random.Random(7)
    odd = [{f"trait.{n}": anything(chance, depth) for n in range(4)} for depth in range(4) for _ in range(60)]
    updates = [
        ProfileUpdated("odd", UUID(int=n + 1), 1, NOW, created_at=NOW, traits=traits) for n, traits in enumerate(odd)
    ]
    columns = ClickHouseColumns(world.stores.clickhouse)
    await columns.insert(profile_block(await accepted(updates, columns)))
    rows = await world.stores.clickhouse.rows(
        Statement("SELECT toJSONString(traits) AS traits FROM profiles WHERE workspace_id = 'odd' ORDER BY profile_id")
    )
    stored = [json.loads(row["traits"]) for row in rows]
    found = [compared(kept, replica) for kept, replica in zip(odd, stored, strict=True)]
    wrong = [
        pair for pair, likeness in zip(zip(odd, stored, strict=True), found, strict=True) if likeness is Likeness.OTHER
    ]
    assert wrong == []
    assert found.count(Likeness.SAME) > 60, "and some can be told"


def anything(chance: random.Random, depth: int) -> Any:
    """Some JSON."""
    kind = chance.randrange(9 if depth else 7)
    if kind == 7:
        return [anything(chance, depth - 1) for _ in range(chance.randrange(4))]
    if kind == 8:
        return {chance.choice("ab.c%é"): anything(chance, depth - 1) for _ in range(chance.randrange(4))}
    whole = chance.choice((0, 1, -1, 2**31, 2**53 + 1, 2**63, -(2**63), 2**64, 10**30))
    texts = ("", "plain", "2026-11-20", "2026-11-20T12:00:00Z", "1", "1.5", "true", "é😀", "\x00", "a\nb", "null")
    return (None, True, False, whole, chance.uniform(-1e9, 1e9), chance.choice(texts), 1e-300)[kind]


async def test_an_erased_text_is_found_wherever_it_stays(world: World) -> None:
    text = "t.north.canary-user-0"
    told = compress(f'{{"reason":"{text}"}}'.encode() * 20)
    await world.postgres(f"INSERT INTO segmenter.outbox_batches (changes, messages) VALUES (1, '\\x{told.hex()}')")
    findings = await prove(world.stores, Question(erased=[text]))
    places = " ".join(broken(findings)["I12"])
    assert "ClickHouse events" in places and "ClickHouse profiles" in places and "Postgres identity.nodes" in places
    assert "1 batches of segmenter.outbox_batches" in places
    unchecked = {one.invariant for one in findings if one.not_checked}
    assert unchecked == {"I1", "I2", "I3", "I5", "I11", "I13", "I14", "I16"}, "nothing passes unseen"
