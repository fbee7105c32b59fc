"""A merge never allows more than each of its parts did."""

from uuid import UUID

from cdp_identity import consent
from cdp_identity.consent import Granted
from cdp_identity.traits import EXPLICIT, Register

A, B, C = UUID(int=1), UUID(int=2), UUID(int=3)


def said(granted: bool, moment: int, emitter: int = 5) -> Register:
    register = Register()
    register.say(emitter, granted, moment)
    return register


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
