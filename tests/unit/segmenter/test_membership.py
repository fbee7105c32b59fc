"""Whatever is seen in whatever order, a membership's changes alternate and end with what was seen last."""

from datetime import UTC, datetime
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cdp_segmenter.membership import Place, Reason, changes, count, is_member, keyed

AT = Reason(datetime(2026, 11, 20, tzinfo=UTC), "event")
PLACES = st.builds(Place, st.sampled_from(["s1", "s2"]), st.integers(0, 3).map(lambda number: UUID(int=number)))


@given(st.lists(st.frozensets(PLACES), max_size=12))
def test_changes_alternate_and_replay_to_the_last_sight(sights: list[frozenset[Place]]) -> None:
    ledger: dict[Place, int] = {}
    log: dict[Place, list[str]] = {}
    for seen in sights:
        messages = changes(ledger, seen, {"s1": 1, "s2": 1}, AT, "w")
        assert count(messages) == len([change for message in messages for change in message.each()])
        assert len({message.profile_id for message in messages}) == len(messages), "one message a profile"
        for change in (change for message in messages for change in message.each()):
            place = Place(change.segment_id, change.profile_id)
            assert change.sequence == ledger.get(place, 0) + 1
            assert (change.change == "entered") is is_member(change.sequence)
            ledger[place] = change.sequence
            log.setdefault(place, []).append(change.change)
    for told in log.values():
        assert told == [("entered", "exited")[index % 2] for index in range(len(told))]
    assert {place for place, sequence in ledger.items() if is_member(sequence)} == set(sights[-1] if sights else ())


@given(st.frozensets(PLACES))
def test_the_same_sight_again_changes_nothing(seen: frozenset[Place]) -> None:
    ledger = dict.fromkeys(seen, 1)
    assert changes(ledger, seen, {"s1": 1, "s2": 1}, AT, "w") == []


def test_segments_that_were_not_looked_at_stay_as_they_are() -> None:
    ledger = {Place("s1", UUID(int=1)): 1, Place("other", UUID(int=1)): 3}
    (message,) = changes(ledger, (), {"s1": 4}, AT, "w")
    (change,) = message.changes
    assert (change.segment_id, change.segment_version, change.change, change.sequence) == ("s1", 4, "exited", 2)
    assert [key for key, _ in keyed([message])] == [b"w|00000000-0000-0000-0000-000000000001"]


def test_somebody_in_thousands_of_segments_is_told_of_in_bounded_messages() -> None:
    names = [f"s{number:05}" for number in range(2500)]
    seen = [Place(name, UUID(int=1)) for name in names]
    messages = changes({}, seen, dict.fromkeys(names, 1), AT, "w")
    assert [len(message.changes) for message in messages] == [1000, 1000, 500]
    assert [change.segment_id for message in messages for change in message.changes] == names
