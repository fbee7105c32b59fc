"""References between segments: unknown ones and circles are refused, the rest is unfolded."""

import pytest

from cdp_segmenter.definitions import Definition, Definitions
from cdp_segmenter.rules.ast import And, InSegment, Not, Or, Rule
from cdp_segmenter.rules.check import MAX_WHOLE_COST, InvalidRule, check_references, cost, depth
from cdp_segmenter.rules.parse import parse
from cdp_segmenter.rules.rewrite import inline, simplified

RICH = parse({"field": "computed.ltv", "operator": ">", "value": 1})
OLD = parse({"field": "attributes.age", "operator": ">", "value": 60})


def definitions(**rules: Rule | None) -> Definitions:
    return Definitions.of(Definition(name, 1, rule) for name, rule in rules.items())


def test_a_circle_is_named_from_end_to_end() -> None:
    others: dict[str, Rule | None] = {"b": Not(InSegment("c")), "c": And((RICH, InSegment("a")))}
    with pytest.raises(InvalidRule, match="a -> b -> c -> a"):
        check_references("a", Or((InSegment("b"), OLD)), others)


def test_a_segment_does_not_refer_to_itself() -> None:
    with pytest.raises(InvalidRule, match="a -> a"):
        check_references("a", InSegment("a"), {})


def test_a_reference_needs_a_segment() -> None:
    with pytest.raises(InvalidRule, match="there is no segment 'b'"):
        check_references("a", InSegment("b"), {})


def test_a_diamond_is_no_circle() -> None:
    others: dict[str, Rule | None] = {"b": InSegment("d"), "c": InSegment("d"), "d": RICH, "m": None}
    check_references("a", And((InSegment("b"), InSegment("c"), InSegment("m"))), others)


def tiers(many: int) -> dict[str, Rule | None]:
    """A waterfall: each tier is who is rich enough and in none of the tiers before."""
    found: dict[str, Rule | None] = {}
    for tier in range(many):
        rich = parse({"field": "computed.ltv", "operator": ">", "value": 1000 - tier})
        found[f"tier{tier}"] = And((rich, *(Not(InSegment(before)) for before in found)))
    return found


def test_a_rule_that_unfolds_into_too_much_is_refused_by_its_references() -> None:
    """A tier more is twice as much."""
    known = tiers(10)
    whole = inline(InSegment("tier9"), known)
    assert cost(whole) == 512 and check_references("tier9", known["tier9"] or RICH, known) is None
    rule = tiers(12)["tier11"]
    assert rule is not None
    with pytest.raises(InvalidRule, match=r"\(tier0, tier1, tier10, .*\) costs 2048 points, at most 1000 are allowed"):
        check_references("tier11", rule, tiers(11))


def test_a_rule_that_would_be_too_much_for_those_who_refer_to_it_is_refused_by_their_names() -> None:
    costly = And(tuple(parse({"event": f"e{number}"}) for number in range(100)))
    assert cost(costly) * 3 > MAX_WHOLE_COST
    others: dict[str, Rule | None] = {
        "a": RICH,
        "b": And((InSegment("a"), OLD)),
        "c": Or((InSegment("a"), InSegment("b"), Not(InSegment("b")))),
        "d": Not(InSegment("c")),
        "e": OLD,
    }
    with pytest.raises(InvalidRule) as refused:
        check_references("a", costly, others)
    messages = [fault.message for fault in refused.value.faults]
    assert messages == [
        "the segment 'c', which refers to this one, with all that it refers to (a, b) costs 1502 points, "
        "at most 1000 are allowed",
        "the segment 'd', which refers to this one, with all that it refers to (c) costs 1502 points, "
        "at most 1000 are allowed",
    ]
    check_references("e", costly, others)


@pytest.mark.parametrize("empty", [And(()), Or(())])
def test_references_to_nothing_are_no_way_round(empty: Rule) -> None:
    known: dict[str, Rule | None] = {"tier0": empty}
    for tier in range(1, 30):
        known[f"tier{tier}"] = And(tuple(Not(InSegment(before)) for before in known))
    with pytest.raises(InvalidRule, match="points"):
        check_references("x", InSegment("tier29"), known)


def test_a_chain_is_as_deep_as_all_its_rules() -> None:
    chain: dict[str, Rule | None] = {"0": RICH, "m": None}
    for link in range(1, 3000):
        chain[str(link)] = Not(InSegment(str(link - 1)))
    assert check_references("x", And((InSegment("48"), InSegment("m"))), chain) is None
    assert depth(inline(And((InSegment("48"), InSegment("m"))), chain)) == 50
    for link in (49, 2999):
        with pytest.raises(InvalidRule, match=rf"\({link}, m\) is nested {link + 2} deep, at most 50"):
            check_references("x", And((InSegment(str(link)), InSegment("m"))), chain)
    with pytest.raises(InvalidRule, match="in a circle: 0 -> 2999 -> 2998"):
        check_references("0", InSegment("2999"), chain)


def test_references_unfold_down_to_manual_segments() -> None:
    known: dict[str, Rule | None] = {"b": Not(InSegment("c")), "c": Or((RICH, InSegment("m"))), "m": None}
    assert inline(And((InSegment("b"), OLD)), known) == And((Not(Or((RICH, InSegment("m")))), OLD))
    assert inline(InSegment("gone"), known) == Or(())


def test_dependents_are_found_however_far() -> None:
    known = definitions(a=RICH, b=InSegment("a"), c=And((InSegment("b"), OLD)), d=OLD)
    assert known.dependents("a") == {"b", "c"}
    assert known.dependents("d") == set()


def test_who_refers_to_what_cannot_be_read_has_no_rule_that_can() -> None:
    rules = {"b": Not(InSegment("a")), "c": And((InSegment("b"), OLD)), "d": OLD}
    known = Definitions.of((Definition(name, 1, rule) for name, rule in rules.items()), unreadable=["a"])
    assert known.rules() == {"d": OLD}
    assert known.dependents("a") == {"b", "c"}


def test_equal_conditions_become_equal_trees() -> None:
    assert simplified(And((RICH, And((OLD, RICH))))) == And((RICH, OLD))
    assert simplified(Not(Not(Or((RICH,))))) == RICH
