"""References between segments: unknown ones and circles are refused, the rest is unfolded."""

import pytest

from cdp_segmenter.definitions import Definition, Definitions
from cdp_segmenter.rules.ast import And, InSegment, Not, Or, Rule
from cdp_segmenter.rules.check import InvalidRule, check_references
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


def test_references_unfold_down_to_manual_segments() -> None:
    known: dict[str, Rule | None] = {"b": Not(InSegment("c")), "c": Or((RICH, InSegment("m"))), "m": None}
    assert inline(And((InSegment("b"), OLD)), known) == And((Not(Or((RICH, InSegment("m")))), OLD))
    assert inline(InSegment("gone"), known) == Or(())


def test_dependents_are_found_however_far() -> None:
    known = definitions(a=RICH, b=InSegment("a"), c=And((InSegment("b"), OLD)), d=OLD)
    assert known.dependents("a") == {"b", "c"}
    assert known.dependents("d") == set()


def test_equal_conditions_become_equal_trees() -> None:
    assert simplified(And((RICH, And((OLD, RICH))))) == And((RICH, OLD))
    assert simplified(Not(Not(Or((RICH,))))) == RICH
