"""Records become columns: one block per table and month, everything as it was sent."""

import uuid
from datetime import UTC, datetime, timedelta, timezone

from hypothesis import given
from hypothesis import strategies as st
from msgspec import Raw

from cdp_eventlog.log import Partition, Record
from cdp_identity.recording.blocks import OUTCOME_COLUMNS, event_blocks, milliseconds, nodes_of, read_events
from cdp_identity.recording.draft import draft
from cdp_identity.recording.erasure import standing
from cdp_identity.recording.owners import RecentOwners
from cdp_identity.recording.profiles import MOVES, UPDATES, newest_updates, profile_block, read_messages
from cdp_identity.recording.protocol import Claim, Intent
from cdp_identity.recording.touched import Touched
from cdp_schemas.codec import encode
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.profiles import NodeMoved, ProfileUpdated
from cdp_schemas.tables import EVENTS, PROFILES

AT = datetime(2026, 11, 30, 23, 59, 59, 999_999, tzinfo=UTC)
PARTITION = Partition("events-identified", 3)
NODE, OTHER = uuid.UUID(int=7), uuid.UUID(int=8)


def event(offset, **fields):
    values = {
        "workspace_id": "w",
        "source_id": "s",
        "message_id": f"m{offset}",
        "type": "track",
        "event": "Viewed",
        "received_at": AT,
        "timestamp": AT,
        "node_id": NODE,
        "received_partition": 3,
        "received_offset": offset,
    }
    return IdentifiedEvent(**{**values, **fields})


def records(*messages, partition=PARTITION, start=100):
    return [Record(partition, start + i, b"k", encode(message), 0) for i, message in enumerate(messages)]


def intent(count):
    return Intent(PARTITION, 100, 99 + count, count, 0, 1)


def test_a_block_per_month_and_one_for_the_outcomes():
    messages = [event(1), event(2, received_at=AT + timedelta(microseconds=1)), event(3, outcome="duplicate")]
    reading = read_events(records(*messages), 0)
    november, december, outcomes = event_blocks([reading], [intent(3)])
    assert november.token == "events:events-identified:3:100-102:g1:202611"
    assert december.token == "events:events-identified:3:100-102:g1:202612"
    assert (list(november.received), list(december.received)) == ([(3, 1)], [(3, 2)])
    assert outcomes.token == "event_outcomes:events-identified:3:100-102:g1"
    minute = milliseconds(AT.replace(second=0, microsecond=0)) // 1000
    assert dict(zip(OUTCOME_COLUMNS, next(zip(*outcomes.columns, strict=True)), strict=True)) == {
        "workspace_id": "w",
        "source_id": "s",
        "minute": minute,
        "outcome": "duplicate",
        "count": 1,
        "received_partition": 3,
        "last_offset": 3,
    }


def test_a_row_holds_the_event_as_it_was_sent():
    message = event(1, type="identify", event=None, anonymous_id="a", properties=Raw(b'{"x": 1.0}'), user_id=None)
    (block,) = event_blocks([read_events(records(message), 0)], [intent(1)])
    row = dict(zip(EVENTS.columns, next(zip(*block.columns, strict=True)), strict=True))
    assert block.names == EVENTS.columns
    assert (row["event"], row["call"]) == ("identify", "identify")
    assert (row["anonymous_id"], row["user_id"], row["session_id"]) == ("a", "", "")
    assert row["properties"] == b'{"x": 1.0}'
    assert (row["received_partition"], row["received_offset"]) == (3, 1)


def test_an_unreadable_record_is_counted_and_its_neighbours_are_stored():
    broken = Record(PARTITION, 101, b"k", b'{"workspaceId":', 0)
    reading = read_events([records(event(1))[0], broken, records(event(2), start=102)[0]], 0)
    assert [e.received_offset for e in reading.events] == [1, 2]
    assert (reading.unreadable, reading.repeats, reading.next_received) == (1, 0, 3)


@given(st.datetimes(timezones=st.sampled_from([UTC, timezone(timedelta(hours=5, minutes=30))])))
def test_milliseconds_are_cut_off_never_rounded_up(at):
    ticks = milliseconds(at)
    assert ticks * 1000 <= (at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) < (ticks + 1) * 1000


def test_the_same_records_make_the_same_blocks():
    batch = records(*(event(offset, outcome="stored" if offset % 3 else "suppressed") for offset in range(20)))
    again, once = ([read_events(batch, 5)] for _ in range(2))
    assert event_blocks(again, [intent(20)]) == event_blocks(once, [intent(20)])


def update(number, version, **fields):
    return ProfileUpdated("w", uuid.UUID(int=number), version, AT, **fields)


def test_the_newest_version_of_each_profile_wins_and_tombstones_are_passed_over():
    batch = records(update(1, 2), update(1, 3), update(1, 1), update(2, 1))
    batch.append(Record(PARTITION, 200, b"k", b"", 0))
    updates, unreadable = read_messages(batch, UPDATES)
    assert {key[1].int: value.version for key, value in newest_updates(updates).items()} == {1: 3, 2: 1}
    assert unreadable == 0
    assert read_messages([Record(PARTITION, 0, b"k", b"{}", 0)], MOVES) == ([], 1)


def test_a_deleted_profile_keeps_only_key_and_version():
    block = profile_block([update(1, 5, deleted=True)])
    row = dict(zip(PROFILES.columns, next(zip(*block.columns, strict=True)), strict=True))
    assert (row["version"], row["deleted"], row["traits"], row["identifiers"]) == (5, 1, "{}", {})
    assert row["first_order_at"] is None


def test_a_draft_holds_three_topics_and_the_claims_that_follow():
    updated, moved = Partition("profiles-updated", 0), Partition("profiles-merged", 1)
    move = NodeMoved("w", OTHER, NODE, OTHER, 4, AT, "erased")
    claims = {p: Claim(p, epoch=1) for p in (PARTITION, updated, moved)}
    batch = {
        PARTITION: records(event(10), event(11)),
        updated: records(update(7, 9, deleted=True), update(8, 1, deleted=True, merged_into=NODE), partition=updated),
        moved: records(move, partition=moved),
    }
    made = draft(batch, claims)
    assert [i.partition for i in made.intents] == [PARTITION]
    assert made.claims[PARTITION].next_received_offset == 12
    assert {claim.next_offset for claim in made.claims.values()} == {102, 101}
    assert [update.profile_id for update in made.deleted] == [NODE, OTHER]
    assert made.erased == [move]


def test_a_draft_remembers_whom_it_erases_also_when_they_come_back_in_it():
    updated, moved = Partition("profiles-updated", 0), Partition("profiles-merged", 1)
    gone, back = update(7, 9, deleted=True), update(7, 12)
    erased, merged = NodeMoved("w", OTHER, NODE, OTHER, 10, AT, "erased"), NodeMoved("w", OTHER, OTHER, NODE, 12, AT)
    batch = {
        updated: records(gone, back, partition=updated),
        moved: records(erased, merged, partition=moved),
    }
    made = draft(batch, {p: Claim(p, epoch=1) for p in batch})
    assert (list(made.updates.values()), list(made.moves.values())) == ([back], [merged])
    assert (made.deleted, made.erased) == ([gone], [erased])


def test_rows_of_erased_nodes_are_not_missed():
    (block,) = event_blocks([read_events(records(event(1), event(2, node_id=OTHER), event(3)), 0)], [intent(3)])
    assert standing(block, {}) == [(3, 1), (3, 2), (3, 3)]
    assert standing(block, {("w", NODE): AT}) == [(3, 2)]
    assert standing(block, {("w", NODE): AT - timedelta(milliseconds=1)}) == [(3, 1), (3, 2), (3, 3)]
    assert standing(block, {("other", NODE): AT}) == [(3, 1), (3, 2), (3, 3)]


def test_nodes_have_their_oldest_arrival():
    later = AT + timedelta(seconds=1)
    assert nodes_of([event(1, received_at=later), event(2), event(3, node_id=OTHER, outcome="duplicate")]) == {
        "w": {NODE: AT}
    }


def test_touched_profiles_are_told_in_messages_of_a_thousand_per_workspace():
    touched = Touched()
    for number in range(1001):
        touched.add("w", uuid.UUID(int=number), AT + timedelta(seconds=number))
    gone = ProfileUpdated("w", OTHER, 2, AT, deleted=True, merged_into=NODE)
    touched.update([ProfileUpdated("v", NODE, 1, AT, received_at=AT), gone])
    messages = list(touched.messages(AT))
    assert [(m.workspace_id, len(m.profile_ids), len(m.gone)) for m in messages] == [
        ("v", 1, 0),
        ("w", 1000, 0),
        ("w", 0, 1),
    ]
    assert messages[1].received_at == AT
    assert OTHER not in messages[1].profile_ids
    assert (messages[2].gone, messages[2].merged_into) == ([OTHER], {OTHER: NODE})


def test_of_an_erased_profile_no_heir_is_told():
    touched = Touched()
    touched.update([ProfileUpdated("w", OTHER, 2, AT, deleted=True)])
    (message,) = touched.messages(AT)
    assert (message.gone, message.merged_into) == ([OTHER], {})


def test_owners_are_forgotten_after_two_turns():
    owners = RecentOwners(seconds=10)
    owners.turn(100)
    owners.know("w", NODE, OTHER)
    owners.turn(105)
    assert owners.owner("w", NODE) == OTHER
    assert owners.unknown("w", [NODE, OTHER]) == [OTHER]
    owners.turn(111)
    assert owners.owner("w", NODE) == OTHER
    owners.turn(122)
    assert owners.owner("w", NODE) is None
