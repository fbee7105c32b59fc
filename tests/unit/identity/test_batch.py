"""A batch coalesces to the same sayings in any order, and each event gets its outcome."""

from random import Random

from cdp_identity import batch
from cdp_identity.batch import Refusal
from cdp_identity.golden import to_micros
from cdp_identity.rows import NodeRow
from cdp_identity.statements import Reading
from cdp_schemas.nodes import node_id
from cdp_schemas.profiles import profile_ref

from .received import NOON, event, record

ADA = node_id("demo", "user_id", "ada")
NOW = to_micros(NOON)


def items(*events):
    return batch.read_records([record(one, offset) for offset, one in enumerate(events)], Reading())


def tombstone(node, until_seconds: float) -> NodeRow:
    return NodeRow("demo", node, node, "", "", 0, None, NOW + int(until_seconds * 1e6), None)


def test_the_order_of_the_items_does_not_matter() -> None:
    events = [
        event("identify", number % 5, message_id=f"m{number}", user_id="ada", anonymous_id=f"a{number % 3}",
              traits={"plan": number % 4}, context={"consent": {"categoryPreferences": {"ads": number % 2 == 0}}})
        for number in range(12)
    ]  # fmt: skip
    read = items(*events)
    expected = batch.gather(read)
    Random(3).shuffle(read)
    found = batch.gather(read)
    assert found.links == expected.links
    assert found.mentions.keys() == expected.mentions.keys()
    for node, mention in expected.mentions.items():
        other = found.mentions[node]
        assert (other.first, other.last, other.arrived) == (mention.first, mention.last, mention.arrived)
        assert other.state == mention.state
    assert expected.mentions[ADA].last == NOW + 4_000_000
    # a node that is only named is seen, but no event stayed with it
    assert expected.mentions[node_id("demo", "anonymous_id", "a0")].last is None


def test_a_link_keeps_its_earliest_evidence() -> None:
    read = items(
        event(seconds=5, user_id="ada", anonymous_id="a", message_id="late"),
        event(seconds=2, user_id="ada", anonymous_id="a", message_id="early"),
    )
    ((_, link, source),) = batch.gather(read).links.values()
    assert (link.message_id, link.moment, source) == ("early", NOW + 2_000_000, "web")


def test_bytes_that_are_no_event_are_quarantined_and_their_neighbours_are_not() -> None:
    read = items(b"\xff", event(user_id="ada"), event())
    assert [one.outcome for one in read] == ["quarantined", "stored", "quarantined"]
    assert [one.refusal and one.refusal.reason for one in read] == ["bad_message", None, "no_identifier"]


def test_a_profile_id_must_be_somebodys() -> None:
    ref = profile_ref(ADA)
    unknown, known, made = items(event(profile_id=ref)), items(event(profile_id=ref)), items(
        event(profile_id=ref), event(user_id="ada")
    )  # fmt: skip
    batch.quarantine_unknown(unknown, {})
    batch.quarantine_unknown(known, {("demo", ADA): NodeRow("demo", ADA, ADA, "user_id", "ada", 0, 0, None, None)})
    batch.quarantine_unknown(made, {})
    assert unknown[0].refusal == Refusal("unknown_profile", f"there is no profile {ref} in this workspace", "profileId")
    assert [one.outcome for one in known + made] == ["stored"] * 3


def test_events_of_the_erased_are_dropped_up_to_their_erasure() -> None:
    known = {("demo", ADA): tombstone(ADA, 10)}
    read = items(
        event(seconds=9, user_id="ada"),
        event(seconds=10, anonymous_id="a", user_id="ada"),
        event(seconds=11, user_id="ada"),
        event(seconds=9, user_id="bob"),
    )
    batch.suppress_erased(read, known)
    assert [one.outcome for one in read] == ["suppressed", "suppressed", "stored", "stored"]


def test_a_device_that_an_erased_person_shared_only_loses_its_link() -> None:
    phone = node_id("demo", "device_id", "phone")
    read = items(event(seconds=1, user_id="bob", device_id="phone"))
    batch.suppress_erased(read, {("demo", phone): tombstone(phone, 10)})
    assert read[0].outcome == "stored"
    assert [one.kind for one in read[0].statement.identifiers] == ["user_id"]
