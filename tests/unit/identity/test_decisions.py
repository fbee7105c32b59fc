"""What is told after a commit, and told again after a crash, is the same."""

from uuid import UUID

from cdp_identity import batch
from cdp_identity.changes import Changes
from cdp_identity.decisions import Settled, messages, outcomes, pack, settle, splice, unpack
from cdp_identity.statements import Reading
from cdp_runtime.metrics import RESOLVER_EVENTS
from cdp_schemas.codec import Codec, encode
from cdp_schemas.events import IdentifiedEvent, RefusedEvent
from cdp_schemas.profiles import NodeMoved, ProfileUpdated
from cdp_schemas.topics import EVENTS_IDENTIFIED, EVENTS_RECEIVED_DLQ, PROFILES_MERGED, PROFILES_UPDATED

from .received import NOON, event, record

A, B = UUID(int=1), UUID(int=2)


def settled() -> Settled:
    records = [record(event(user_id="ada"), 7), record(b"{broken", 9), record(event(), 3, partition=1)]
    items = batch.read_records(records, Reading())
    changes = Changes(
        updated=[ProfileUpdated("demo", A, 5, NOON)],
        gone=[ProfileUpdated("demo", B, 6, NOON, deleted=True, merged_into=A)],
        moved=[NodeMoved("demo", B, B, A, 5, NOON)],
    )
    return settle(items, changes)


def test_an_identified_event_is_the_received_bytes_with_what_was_found_in_front() -> None:
    received = event("identify", user_id="ada", traits={"a": [1, {"b": None}]})
    identified = Codec(IdentifiedEvent).decode(splice(encode(received), A, 3, 42, "duplicate"))
    assert (identified.node_id, identified.received_partition, identified.received_offset) == (A, 3, 42)
    assert identified.outcome == "duplicate"
    assert bytes(identified.traits) == b'{"a":[1,{"b":null}]}'
    assert (identified.user_id, identified.timestamp) == ("ada", received.timestamp)


def test_every_offset_is_told_once_in_its_own_partition() -> None:
    told = messages(settled())
    by_topic = {topic: [one for one in told if one.topic == topic] for topic in {one.topic for one in told}}
    assert [one.partition for one in by_topic[EVENTS_IDENTIFIED]] == [0, 1]
    letters = [Codec(RefusedEvent).decode(one.value) for one in by_topic[EVENTS_RECEIVED_DLQ]]
    assert [(one.reason, one.workspace_id) for one in letters] == [("bad_message", "demo"), ("no_identifier", "demo")]
    assert len(by_topic[PROFILES_UPDATED]) == 2 and len(by_topic[PROFILES_MERGED]) == 1
    assert outcomes(settled()) == {"stored": 1, "quarantined": 2, "duplicate": 0, "suppressed": 0}


def test_every_outcome_is_counted_from_the_start() -> None:
    """An alert compares them with what was accepted, and a counter of Prometheus is not counted from nothing."""
    assert {value for (value,) in RESOLVER_EVENTS._metrics} == outcomes(settled()).keys()


def test_decisions_survive_their_bytes_and_tell_the_same_again() -> None:
    first = settled()
    again = {number: unpack(pack(one)) for number, one in first.decisions.items()}
    assert again == first.decisions
    assert messages(Settled(again, first.records, first.updated)) == messages(first)
    assert (again[0].first, again[0].last, again[1].first) == (7, 9, 3)
    assert again[0].changed() == [("demo", A)] and again[1].changed() == []
