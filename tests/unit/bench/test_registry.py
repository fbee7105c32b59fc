"""Rows that are asked for -> the measurements that give them, each judged by its goals."""

import pytest
from bench.catalogue import REGISTRY
from bench.registry import Benchmark, Registry, Unknown, by_environment, nothing
from bench.target import Target, above_bare, all_of, at_least, at_most, share_of_bare, times_bare


def target(name: str = "X1") -> Target:
    return Target(name, "a thing", "s", release=at_most(1, "s"), floor=at_most(5, "s"), how="by hand")


def test_a_figure_may_miss_the_release_and_hold_the_floor() -> None:
    row = target().row(2.0)
    assert (row.met, row.floor_met) == (False, True)
    assert (row.goal, row.floor) == ("≤ 1 s", "≤ 5 s")


@pytest.mark.parametrize(
    ("goal", "value", "baseline", "reached"),
    [
        (at_least(10, "/s"), 10, None, True),
        (at_least(10, "/s"), 9.9, None, False),
        (share_of_bare(0.8), 8, 10, True),
        (share_of_bare(0.8), 7, 10, False),
        (times_bare(1.1), 1.2, 1.0, False),
        (above_bare(10, "ms"), 15, 5, True),
        (above_bare(10, "ms"), 15.1, 5, False),
        (all_of(at_least(5, "/s"), share_of_bare(0.8)), 7, 10, False),
        (share_of_bare(0.8), 8, None, False),
    ],
)
def test_goals(goal, value, baseline, reached) -> None:
    row = Target("X1", "a thing", "s", release=goal, floor=goal, how="").row(value, baseline)
    assert row.met is reached


def test_rows_share_the_environment_that_they_name_alike() -> None:
    def stack():
        return nothing()

    ones = [Benchmark([target(name)], where, list) for name, where in (("A", stack), ("B", nothing), ("C", stack))]
    assert [[one.id for one in some] for some in by_environment(ones).values()] == [["A", "C"], ["B"]]


def test_a_row_brings_the_measurement_that_gives_it() -> None:
    registry = Registry(
        [Benchmark([target("A"), target("A CPU")], nothing, list), Benchmark([target("B")], nothing, list)]
    )
    assert [one.id for one in registry.chosen(["A CPU"])] == ["A"]
    assert [one.id for one in registry.chosen([])] == ["A", "B"]
    with pytest.raises(Unknown, match="P99"):
        registry.chosen(["P99"])


def test_two_measurements_of_one_row_are_a_mistake() -> None:
    with pytest.raises(ValueError, match="A"):
        Registry([Benchmark([target("A")], nothing, list), Benchmark([target("A")], nothing, list)])


def test_every_row_says_how_it_is_measured() -> None:
    assert [one.id for one in REGISTRY.targets if not (one.how and one.release.text and one.floor.text)] == []
