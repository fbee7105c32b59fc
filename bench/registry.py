"""Benchmarks by the ids of their rows -> those that were asked for, together with others on the same environment."""

from collections.abc import Callable, Iterable, Mapping, Sequence
from contextlib import AbstractContextManager, nullcontext
from dataclasses import dataclass
from typing import Any

from bench.report import Row
from bench.target import Target

# What a benchmark runs on: a factory that others may share, so that it is opened once for all of them.
Environment = Callable[[], AbstractContextManager[Any]]
nothing: Environment = nullcontext


class Unknown(Exception):
    """There is no row of that name."""


@dataclass(frozen=True, slots=True)
class Benchmark:
    """Rows that one measurement gives. ``measure`` gets what ``environment`` opened and returns them.

    ``again`` is run under a profiler when a row misses its release goal: ``measure`` unless a shorter one is given.
    Where the processes that matter end meanwhile there is nothing to profile.
    """

    targets: Sequence[Target]
    environment: Environment
    measure: Callable[[Any], Iterable[Row]]
    again: Callable[[Any], Iterable[object]] | None = None
    is_profiled: bool = True

    @property
    def id(self) -> str:
        return self.targets[0].id

    def judged(self, rows: Iterable[Row]) -> list[Row]:
        """Each row with the goals of its target. Raises KeyError for a row that no target announced."""
        by_id = {target.id: target for target in self.targets}
        return [by_id[row.id].judged(row) for row in rows]


class Registry:
    """All benchmarks, in the order in which they run."""

    def __init__(self, benchmarks: Sequence[Benchmark]) -> None:
        self.benchmarks = benchmarks
        ids = [target.id for benchmark in benchmarks for target in benchmark.targets]
        if doubled := {one for one in ids if ids.count(one) > 1}:
            raise ValueError(f"several benchmarks give the row {', '.join(sorted(doubled))}")

    @property
    def targets(self) -> list[Target]:
        return [target for benchmark in self.benchmarks for target in benchmark.targets]

    def chosen(self, ids: Iterable[str]) -> list[Benchmark]:
        """Those that give one of these rows, all when none is named. Raises Unknown."""
        wanted = set(ids)
        if unknown := wanted - {target.id for target in self.targets}:
            raise Unknown(f"there is no row {', '.join(sorted(unknown))}; --list shows all")
        return [one for one in self.benchmarks if not wanted or wanted & {target.id for target in one.targets}]


def by_environment(benchmarks: Iterable[Benchmark]) -> Mapping[Environment, list[Benchmark]]:
    """Each environment, in the order of first need, with what runs on it."""
    grouped: dict[Environment, list[Benchmark]] = {}
    for benchmark in benchmarks:
        grouped.setdefault(benchmark.environment, []).append(benchmark)
    return grouped
