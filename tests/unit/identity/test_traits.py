"""A register joins in any order, and an echo is no change."""

from random import Random
from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from cdp_identity.fold import NodeState, decode, encode
from cdp_identity.traits import EMITTERS_KEPT, EXPLICIT, Register, fitting, read

WEB, PHONE, SERVER = 11, 22, 33
values = st.sampled_from([None, "free", "pro", 3, {"city": "Turin"}])
sayings = st.lists(st.tuples(st.sampled_from([EXPLICIT, WEB, PHONE]), values, st.integers(0, 30)), max_size=25)


def register(*said: tuple[int, Any, int]) -> Register:
    found = Register()
    for emitter, value, moment in said:
        found.say(emitter, value, moment)
    return found


def held(*said: tuple[int, Any, int]) -> Any:
    return register(*said).held().value


def joined(*registers: Register) -> Register:
    found = Register()
    for one in registers:
        found.join(one)
    return found


@given(sayings, st.randoms())
def test_the_order_of_statements_does_not_matter(said: list[tuple[int, Any, int]], random: Random) -> None:
    shuffled = list(said)
    random.shuffle(shuffled)
    assert register(*said) == register(*shuffled)


@given(sayings, sayings, sayings)
def test_a_join_is_commutative_associative_and_idempotent(one: list, other: list, third: list) -> None:
    a, b, c = register(*one), register(*other), register(*third)
    assert joined(a, b) == joined(b, a)
    assert joined(joined(a, b), c) == joined(a, joined(b, c))
    assert joined(a, a) == a
    assert joined(a, b) == register(*one, *other)


@given(sayings)
def test_a_state_survives_its_bytes(said: list[tuple[int, Any, int]]) -> None:
    state = NodeState(sources={WEB: "web"} if any(one[0] == WEB for one in said) else {})
    if said:
        state.traits["plan"] = register(*said)
        state.consent["email"] = register(*((emitter, value == "pro", at) for emitter, value, at in said))
    assert decode(encode(state)) == state
    assert encode(decode(encode(state))) == encode(state)


def test_the_latest_change_holds() -> None:
    assert held((WEB, "free", 1), (PHONE, "pro", 2)) == "pro"
    assert held((WEB, "free", 1), (WEB, "pro", 2), (WEB, "free", 3)) == "free"


def test_an_old_value_that_another_device_repeats_does_not_overwrite_a_change() -> None:
    assert held((WEB, "free", 1), (PHONE, "pro", 2), (WEB, "free", 3)) == "pro"
    assert held((WEB, "free", 3), (PHONE, "pro", 2), (WEB, "free", 1)) == "pro"


def test_a_real_change_after_an_echo_counts() -> None:
    assert held((WEB, "free", 1), (PHONE, "pro", 2), (WEB, "free", 3), (WEB, "team", 4)) == "team"


def test_a_statement_through_the_api_is_meant_every_time() -> None:
    assert held((EXPLICIT, "free", 1), (PHONE, "pro", 2), (EXPLICIT, "free", 3)) == "free"


def test_null_removes_and_a_later_value_brings_back() -> None:
    assert read({"plan": register((WEB, "free", 1), (WEB, None, 2))}) == {}
    assert read({"plan": register((WEB, "free", 1), (WEB, None, 2), (WEB, "pro", 3))}) == {"plan": "pro"}


def test_a_trait_that_changes_with_every_call_stays_small() -> None:
    state = NodeState(traits={"lastLogin": register(*((WEB, f"day {day}", day) for day in range(1000)))})
    assert len(encode(state)) < 250
    assert read(state.traits) == {"lastLogin": "day 999"}


def test_traits_beyond_the_space_are_left_out_by_name() -> None:
    assert fitting({"c": 1, "b": "x" * 50, "a": [1, 2]}, 30) == {"a": [1, 2]}
    assert fitting({"c": 1, "a": [1, 2]}, 30) == {"a": [1, 2], "c": 1}


def test_two_crowded_registers_join_to_the_latest_emitters_whichever_joins() -> None:
    early, late = Register(), Register()
    for number in range(EMITTERS_KEPT):
        early.say(number + 1, "early", number)
        late.say(number + 1001, "late", 1000 + number)
    joined, other = Register(), Register()
    joined.join(late)
    joined.join(early)  # all of whose emitters are forgotten again
    other.join(early)
    other.join(late)
    assert joined == other == late
