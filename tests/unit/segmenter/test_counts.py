"""Conditions on how often something happened: what is remembered of counts, and that it is right."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_segmenter.rules import event_tests
from cdp_segmenter.rules.ast import Comparison
from cdp_segmenter.rules.columns import Columns
from cdp_segmenter.rules.compare import satisfied
from cdp_segmenter.rules.event_tests import CountTests
from cdp_segmenter.rules.parse import parse

NUMBERS = st.integers(-3, 40) | st.floats(0, 40, allow_nan=False)
TESTS = st.one_of(
    st.tuples(st.sampled_from(["=", "!=", ">", "<", ">=", "<="]), NUMBERS),
    st.tuples(st.just("between"), st.lists(NUMBERS, min_size=2, max_size=2).map(sorted)),
    st.tuples(st.sampled_from(["in", "not_in"]), st.lists(NUMBERS, min_size=1, max_size=3)),
)


def counting(*tests: tuple[str, Any]) -> tuple[CountTests, int]:
    """Conditions on the number of purchases, and the code of one."""
    conditions = [{"event": "purchase", "count": {"operator": test, "value": value}} for test, value in tests]
    columns = Columns([parse({"operator": "OR", "conditions": conditions})])
    tested = CountTests(columns)
    return tested, min(columns.codes(tested.leaves[0]))


@given(st.lists(TESTS, min_size=1, max_size=4), st.lists(st.integers(0, 60), min_size=1, max_size=20))
def test_a_count_is_tested_right_whatever_was_tested_before(tests: list[tuple[str, Any]], counts: list[int]) -> None:
    tested, code = counting(*tests)
    for count in counts:
        held = tested.held([code], [count])
        assert [held >> place & 1 for place in range(len(tested.leaves))] == [
            satisfied(leaf.comparison, float(count), None) for leaf in tested.leaves
        ]


def test_counts_beyond_every_comparison_are_remembered_as_one(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[float] = []

    def watched(comparison: Comparison, seen: float, now: None) -> bool:
        asked.append(seen)
        return satisfied(comparison, seen, now)

    tested, code = counting((">=", 5), ("in", [2, 12]))
    monkeypatch.setattr(event_tests, "satisfied", watched)
    for count in range(1, 10_000):
        tested.held([code], [count])
    assert sorted(set(asked)) == list(range(1, 14)) and len(asked) == 2 * 13
