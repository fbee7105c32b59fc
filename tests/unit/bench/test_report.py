"""Goals judge figures, and one number tells how far all of them are."""

import math

from bench.report import Row, composite, markdown
from bench.target import Goal, Target, all_of, at_least, at_most, share_of_bare, times_bare


def row(name: str, goal: Goal, value: float, baseline: float | None = None) -> Row:
    return Target(name, name, "s", release=goal, floor=at_most(1e9, "s"), how="").row(value, baseline)


def test_the_composite_names_every_part() -> None:
    rows = [
        row("P1", all_of(at_least(100, "s"), share_of_bare(0.8)), 200, 200),
        row("P5", at_most(100, "s"), 200),
        row("P17 get", at_most(10, "s"), 10),
        row("P17 search", at_most(10, "s"), 40),
        row("P22", times_bare(2), 10, 5),
    ]
    assert composite(rows) == (
        "Composite 0.794, where 1 is the goal and 2 is twice as good: P1 2, P5 0.5, P17 0.5. "
        "Not measured: P2, P12, P14, P15, P18, P23."
    )


def test_what_never_came_is_no_reason_to_report_nothing() -> None:
    rows = [row("P5", at_most(100, "s"), 50), row("P23", at_most(5, "s"), math.inf)]
    assert not rows[1].met
    assert composite(rows).startswith("Composite 0, where 1 is the goal and 2 is twice as good: P5 2, P23 0.")
    assert "| inf s |" in markdown(rows)


def test_without_such_rows_there_is_none() -> None:
    assert composite([row("P22", times_bare(2), 10, 5)]) == ""
