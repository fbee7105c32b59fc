"""A merge never allows more than each of its parts did."""

from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cdp_identity import consent
from cdp_identity.consent import Granted
from cdp_identity.traits import EXPLICIT, Register

A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)
PHONE, LAPTOP = 11, 22
Said = tuple[int, bool, int]  # emitter, granted, moment
moments = st.integers(0, 60)
sayings = st.lists(
    st.tuples(st.sampled_from([EXPLICIT, PHONE, LAPTOP]), st.booleans(), moments),
    min_size=1,
    max_size=12,
    unique_by=lambda one: one[2],
)


def said(granted: bool, moment: int, emitter: int = 5) -> Register:
    register = Register()
    register.say(emitter, granted, moment)
    return register


def register(*said: Said) -> Register:
    found = Register()
    for emitter, granted, moment in said:
        found.say(emitter, granted, moment)
    return found


def held(said: Register) -> Granted:
    """What a person's only node says."""
    return consent.read({A: {"ads": said}}, joined_at(0))["ads"]


def changes(said: list[Said]) -> list[Said]:
    """What a full log tells: what is meant each time, and each time that an emitter says what it did not say before."""
    found: list[Said] = []
    latest: dict[int, bool] = {}
    for emitter, granted, moment in sorted(said, key=lambda one: one[2]):
        if emitter == EXPLICIT or latest.get(emitter) is not granted:
            found.append((emitter, granted, moment))
        latest[emitter] = granted
    return found


def joined_at(moment: int):
    return lambda one, other: moment if one != other else None


def test_the_latest_holds_within_a_node() -> None:
    register = said(True, 1)
    register.say(5, False, 2)
    assert consent.read({A: {"ads": register}}, joined_at(0)) == {"ads": Granted(False, 2)}


def test_a_refusal_from_before_the_merge_holds_for_all() -> None:
    for refused, granted in ((1, 5), (5, 1)):
        states = {A: {"ads": said(False, refused)}, B: {"ads": said(True, granted)}}
        assert consent.read(states, joined_at(9))["ads"].granted is False


def test_a_grant_after_the_merge_holds_again() -> None:
    states = {A: {"ads": said(False, 1)}, B: {"ads": said(True, 10, EXPLICIT)}}
    assert consent.read(states, joined_at(9)) == {"ads": Granted(True, 10)}
    assert consent.read(states, joined_at(11))["ads"].granted is False


def test_nodes_that_are_silent_change_nothing_and_unknown_purposes_are_missing() -> None:
    assert consent.read({A: {"ads": said(True, 1)}, B: {}, C: {}}, joined_at(9)) == {"ads": Granted(True, 1)}
    assert consent.read({A: {}}, joined_at(9)) == {}


@given(sayings, st.randoms())
def test_what_is_held_depends_on_what_was_said_and_not_on_how_it_arrived(said: list[Said], random: Random) -> None:
    shuffled = [*said, *said]
    random.shuffle(shuffled)
    parts = register(*shuffled[: len(said)]), register(*shuffled[len(said) :])
    parts[0].join(parts[1])
    assert held(register(*said)) == held(parts[0])


@given(sayings)
def test_never_is_more_allowed_than_a_full_log_would_allow(said: list[Said]) -> None:
    found = held(register(*said))
    _, granted, _ = changes(said)[-1]
    assert granted or not found.granted


@given(sayings)
def test_where_nobody_comes_back_to_an_earlier_answer_it_is_what_a_full_log_tells(said: list[Said]) -> None:
    once = {emitter: [one for one in changes(said) if one[0] == emitter][:2] for emitter, _, _ in said}
    kept = [one for some in once.values() for one in some]
    _, granted, moment = changes(kept)[-1]
    assert held(register(*kept)) == Granted(granted, moment)


@given(sayings, st.permutations(range(3)), moments)
def test_who_withdraws_after_every_grant_is_heard(said: list[Said], order: list[int], later: int) -> None:
    last = [(PHONE, True, 100), (LAPTOP, True, 101), (PHONE, False, 102 + later)]
    found = held(register(*(last[number] for number in order), *said))
    assert found == Granted(False, 102 + later)


def test_a_phone_that_refused_agreed_and_refused_again_is_heard_although_another_device_agreed() -> None:
    said = [(PHONE, False, 0), (PHONE, True, 60), (LAPTOP, True, 90), (PHONE, False, 120)]
    assert held(register(*said)) == Granted(False, 120)


def test_a_device_that_agreed_for_its_person_and_then_refuses_without_naming_her_is_heard() -> None:
    guest = register((PHONE, False, 0), (PHONE, False, 120))
    for granter in (PHONE, LAPTOP):
        account = register((PHONE, True, 60), (granter, True, 90))
        assert consent.read({A: {"ads": guest}, B: {"ads": account}}, joined_at(30)) == {"ads": Granted(False, 120)}
    # what it only repeats is as old as it was, whoever else agreed
    account = register((LAPTOP, True, 90))
    assert consent.read({A: {"ads": guest}, B: {"ads": account}}, joined_at(30)) == {"ads": Granted(True, 90)}


@given(st.lists(moments, min_size=1, max_size=5), st.integers(100, 200), st.lists(st.integers(201, 300), max_size=5))
def test_a_refusal_that_a_device_only_repeats_does_not_withdraw_what_was_granted_since(
    refused: list[int], granted: int, repeated: list[int]
) -> None:
    refusals = [(PHONE, False, moment) for moment in [*refused, *repeated]]
    for granter in (EXPLICIT, LAPTOP):
        assert held(register(*refusals, (granter, True, granted))) == Granted(True, granted)
    # nor does one that agreed once, long before
    changed = register((PHONE, True, -1), *refusals, (LAPTOP, True, granted))
    assert held(changed) == Granted(True, granted)


def test_of_an_answer_and_its_contrary_at_the_same_time_the_refusal_holds() -> None:
    for one, other in ((PHONE, PHONE), (PHONE, LAPTOP), (EXPLICIT, EXPLICIT), (EXPLICIT, PHONE), (PHONE, EXPLICIT)):
        assert held(register((one, True, 5), (other, False, 5))) == Granted(False, 5)
