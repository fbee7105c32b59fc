"""What a node and a profile have space for: whoever sends what, a state and a message stay small."""

from random import Random

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_identity import batch, changes, fold
from cdp_identity.api_answers import ConsentBody
from cdp_identity.changes import Changes, Group
from cdp_identity.golden import to_micros
from cdp_identity.rows import NodeRow
from cdp_identity.statements import Reading, read
from cdp_schemas.codec import encode
from cdp_schemas.consent import PURPOSES_KEPT
from cdp_schemas.nodes import node_id
from cdp_schemas.profiles import Revenue

from .received import NOON, event, record

TAB = node_id("demo", "anonymous_id", "tab")


def says(answers, seconds=0.0, who="tab", message_id=None):
    """An event that carries these answers."""
    context = {"consent": {"categoryPreferences": answers}}
    return event("identify", seconds, anonymous_id=who, message_id=message_id or f"{who}-{seconds}", context=context)


def told(row, *events, to=None):
    """The node after a batch of events."""
    items = batch.read_records([record(one, offset) for offset, one in enumerate(events)], Reading())
    mentions = batch.gather(items).mentions
    (mention,) = mentions.values()
    return changes.absorb(row, mention, Changes() if to is None else to)


def answers_of(*rows):
    group = Group(("demo", rows[0].node_id), list(rows), is_new_set=True)
    return changes.fold_profile(group, NOON, Revenue())


def test_purposes_without_end_are_dropped_and_counted_and_the_message_stays_small():
    row, made = None, Changes()
    for number in range(60):
        answers = {f"{number}-{part}-" + "\u4e00" * 110: True for part in range(80)}
        row = told(row, says(answers, number), to=made)
    record = answers_of(row)
    assert len(record.consent) == PURPOSES_KEPT
    assert made.dropped_purposes == 60 * 80 - PURPOSES_KEPT
    assert len(made.consents) == PURPOSES_KEPT, "no history of what is not kept"
    assert len(row.state) < 2 * changes.STATE_BYTES
    assert len(encode(record)) < 1 << 17


def test_who_was_known_first_stays_and_changes_and_a_refusal_always_finds_space():
    known = {f"known {number:03}": True for number in range(PURPOSES_KEPT)}
    row = told(None, says(known, 1))
    row = told(row, says({"a late grant": True, "known 199": False, "tracking": False}, 2))
    consent = answers_of(row).consent
    assert consent["known 199"] is False
    assert consent["tracking"] is False
    assert "a late grant" not in consent
    assert len(consent) == PURPOSES_KEPT


@settings(max_examples=50)
@given(
    st.lists(st.tuples(st.integers(0, 400), st.integers(1, 90), st.booleans(), st.integers(0, 9)), max_size=12),
    st.randoms(),
)
def test_within_a_batch_the_order_of_arrival_does_not_matter(said, random):
    events = [
        says({f"p{first + step}": granted for step in range(many)}, seconds, message_id=f"m{number}")
        for number, (first, many, granted, seconds) in enumerate(said)
    ] or [says({"p": True})]
    before = told(None, says({f"p{number}": True for number in range(100)}))
    expected = told(before, *events)
    Random(random.random()).shuffle(events)
    assert told(before, *events) == expected
    assert len(fold.decode(expected.state).consent) <= PURPOSES_KEPT


def test_a_profile_of_many_nodes_keeps_the_refusals_of_all():
    refused, granted = {f"-{n}": False for n in range(50)}, {f"+{n}": True for n in range(100)}
    rows = [
        told(None, says({f"{who}{name}": answer for name, answer in (refused | granted).items()}, who=who))
        for who in ("a", "b", "c")
    ]
    consent = answers_of(*rows).consent
    assert len(consent) == PURPOSES_KEPT
    assert sum(not granted for granted in consent.values()) == 150
    assert answers_of(*reversed(rows)).consent == consent


def test_a_node_that_grew_before_there_was_a_limit_shrinks_when_something_is_said():
    crowded = batch.gather(
        batch.read_records([record(says({f"{n}-{m}": True for m in range(400)}, n), n) for n in range(5)], Reading())
    ).mentions[TAB]
    row = NodeRow("demo", TAB, TAB, "anonymous_id", "tab", to_micros(NOON), None, None, fold.encode(crowded.state))
    assert len(answers_of(row).consent) == PURPOSES_KEPT
    row = told(row, says({"0-0": False}, 9))
    assert len(fold.decode(row.state).consent) == PURPOSES_KEPT
    assert answers_of(row).consent["0-0"] is False


def test_one_event_states_five_hundred_purposes_at_most_the_refused_first():
    answers = {f"p{number:04}": number != 1999 for number in range(2000)}
    stated = read(says(answers), Reading()).consent
    assert len(stated) == 500
    assert stated["p1999"] is False
    assert read(says(dict(reversed(answers.items()))), Reading()).consent == stated


def test_a_call_of_the_api_with_more_is_told_so():
    many = {f"p{number}": True for number in range(PURPOSES_KEPT)}
    assert ConsentBody(profileId="email:ada@example.org", **many).purposes() == many
    with pytest.raises(ValueError, match="at most 200 purposes"):
        ConsentBody(profileId="email:ada@example.org", **many, one=False)
