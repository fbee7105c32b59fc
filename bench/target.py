"""What a figure has to reach: a row's id and words, the goal of a release, and the floor of every change."""

import math
from collections.abc import Callable
from dataclasses import dataclass, replace

from bench.report import Row

Test = Callable[[float, float | None, float | None], bool]  # value, bare baseline, ratio -> reached


@dataclass(frozen=True, slots=True)
class Goal:
    """A sentence and its test. Without the baseline that it needs it is not reached: nobody has shown that it is.

    ``score`` of a value: 1 is the goal, 2 is twice as good; None where the goal is a ratio alone.
    """

    text: str
    reached: Test
    score: Callable[[float], float] | None = None


@dataclass(frozen=True, slots=True)
class Target:
    """One row of the table. ``how``: what is sent, what is read and when the clock starts and stops."""

    id: str
    what: str
    unit: str
    release: Goal
    floor: Goal
    how: str

    def row(self, value: float, baseline: float | None = None, ratio: float | None = None) -> Row:
        """The judged row. ``ratio`` is value / baseline unless said otherwise. Raises ValueError for no baseline."""
        if baseline is not None and not 0 < baseline < math.inf:
            raise ValueError(f"{self.id}: beside a baseline of {baseline} anything is good")
        if ratio is None and baseline:
            ratio = value / baseline
        return self.judged(Row(self.id, self.what, value, self.unit, baseline, ratio, "", False))

    def judged(self, row: Row) -> Row:
        """The same figures, with this target's goals."""
        figures = (row.value, row.baseline, row.ratio)
        return replace(
            row,
            goal=self.release.text,
            score=self.release.score(row.value) if self.release.score and row.value else None,
            met=self.release.reached(*figures),
            floor=self.floor.text,
            floor_met=self.floor.reached(*figures),
        )


def at_most(limit: float, unit: str) -> Goal:
    return Goal(f"≤ {limit:,g} {unit}", lambda value, baseline, ratio: value <= limit, lambda value: limit / value)


def at_least(limit: float, unit: str) -> Goal:
    return Goal(f"≥ {limit:,g} {unit}", lambda value, baseline, ratio: value >= limit, lambda value: value / limit)


def share_of_bare(least: float, of: str = "of bare") -> Goal:
    """The ratio is so good or better, where more is better. ``of``: what another baseline is called."""
    return Goal(f"≥ {least:g} {of}", lambda value, baseline, ratio: ratio is not None and ratio >= least)


def times_bare(most: float, of: str = "× bare") -> Goal:
    """The ratio is so good or better, where less is better. ``of``: what another baseline is called."""
    return Goal(f"≤ {most:g} {of}", lambda value, baseline, ratio: ratio is not None and ratio <= most)


def above_bare(most: float, unit: str) -> Goal:
    """The value lies at most so far above the baseline's."""
    return Goal(
        f"≤ bare + {most:,g} {unit}", lambda value, baseline, ratio: baseline is not None and value <= baseline + most
    )


def all_of(*goals: Goal) -> Goal:
    return Goal(
        " and ".join(goal.text for goal in goals),
        lambda value, baseline, ratio: all(goal.reached(value, baseline, ratio) for goal in goals),
        next((goal.score for goal in goals if goal.score is not None), None),
    )
