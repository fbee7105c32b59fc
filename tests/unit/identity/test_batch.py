"""A batch coalesces to the same sayings in any order, and each event gets its outcome."""

from random import Random

from hypothesis import given
from hypothesis import strategies as st

from cdp_identity import batch, changes
from cdp_identity.batch import Refusal
from cdp_identity.changes import Changes
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


def answered(device: str, granted: bool, seconds: float):
    """A device's SDK, or with "api" the front door, tells what a person answered."""
    message_id = f"{device}-{seconds}"
    if device == "api":
        ads = {"ads": granted}
        return event("consent", seconds, user_id="ada", channel="api", message_id=message_id, properties=ads)
    told = {"consent": {"categoryPreferences": {"ads": granted}}}
    return event("identify", seconds, user_id="ada", anonymous_id=device, message_id=message_id, context=told)


def history(*batches) -> list[tuple[str, bool]]:
    """The lines that are written of Ada's consent while the batches come, by time."""
    row, found = None, Changes()
    for events in batches:
        row = changes.absorb(row, batch.gather(items(*events)).mentions[ADA], found)
    return [(entry.message_id, entry.granted) for entry in sorted(found.consents, key=lambda entry: entry.at)]


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
    (row,) = batch.gather(read).links.values()
    assert (row.link.message_id, row.link.moment, row.source_id) == ("early", NOW + 2_000_000, "web")


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


def test_the_history_of_consent_has_every_change_also_within_a_batch() -> None:
    granted = answered("api", True, 0)
    changed = [answered("phone", seconds == 3, seconds) for seconds in (1, 2, 3, 4)]
    expected = [("api-0", True), ("phone-1", False), ("phone-3", True), ("phone-4", False)]
    assert history([granted], changed) == history([granted, *reversed(changed)]) == expected


def test_the_history_has_the_grant_that_is_in_force_whoever_granted_before() -> None:
    refused = answered("phone", False, 1)
    again = [answered("api", True, seconds) for seconds in (0, 2, 3)]
    expected = [("api-0", True), ("phone-1", False), ("api-2", True), ("api-3", True)]
    assert history(again[:1], [refused], again[1:]) == expected
    assert history([refused], [answered("phone", True, 2)], [answered("laptop", True, 3)])[-1] == ("laptop-3", True)


def test_a_refusal_that_a_device_repeats_is_one_line() -> None:
    refusals = [answered("phone", False, seconds) for seconds in range(2, 9)]
    batches = [answered("phone", False, 0)], [answered("phone", True, 1)], [answered("api", True, 1.5)]
    expected = [("phone-0", False), ("phone-1", True), ("api-1.5", True), ("phone-2", False)]
    assert history(*batches, *([one] for one in refusals)) == history(*batches, refusals) == expected


def test_what_was_said_earlier_and_comes_late_is_compared_with_what_was_said_until_then() -> None:
    told = [answered("phone", True, 0), answered("phone", True, 10)]
    assert history(told, [answered("phone", True, 5)]) == [("phone-0", True)]
    assert history(told, [answered("phone", False, 5)]) == [("phone-0", True), ("phone-5", False)]


said = st.lists(
    st.tuples(st.sampled_from(["phone", "laptop", "api"]), st.booleans(), st.integers(0, 60)),
    min_size=1,
    max_size=10,
    unique_by=lambda one: one[2],
)


@given(said, st.data())
def test_the_history_does_not_depend_on_how_batches_are_cut(answers, data) -> None:
    events = [answered(*one) for one in sorted(answers, key=lambda one: one[2])]
    cut = data.draw(st.integers(1, len(events)))
    expected = history(events)
    assert history(events[:cut], *([one] for one in events[cut:])) == expected
    assert history(events[:cut], *([events[cut:]] if events[cut:] else [])) == expected
