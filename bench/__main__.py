"""``python -m bench [ROW ...]``: figures beside their bare baselines, as a table and as bench/results.json.

``python -m bench soak`` is the long run.
"""

import argparse
import io
import math
import os
import sys
from collections.abc import Iterable, Iterator
from contextlib import redirect_stdout
from dataclasses import replace
from typing import Any

from bench import generator, machine, profiles, report, soak
from bench.catalogue import REGISTRY
from bench.machine import Noisy, require_quiet
from bench.registry import Benchmark, Unknown, by_environment

SETTINGS = """\
Kafka: one broker, acks=all, idempotent producers. Postgres: fsync=on, synchronous_commit=on. ClickHouse: through chDB,
one node, fsync_after_insert=0. {processors} processors with everything on them, the load generator included.
The load is seeded: seed {seed}, data set {dataset}."""


def main(arguments: list[str]) -> int:
    if arguments[:1] == ["soak"]:
        return soak.main(arguments[1:])
    given = _arguments(arguments)
    if given.list:
        print(_listed())
        return 0
    machine.lenient = given.even_if_noisy
    noisy, rows = False, list[report.Row]()
    try:
        chosen = REGISTRY.chosen(given.rows)
        noisy = not _is_quiet(given.even_if_noisy)
        for measured in _measured(chosen, profiled=not given.no_profiles):
            rows += measured
    except (Noisy, Unknown) as reason:
        print(f"No figure is reported: {reason}.", file=sys.stderr)
        return 1
    except BaseException:  # a stack that gives up ends a test, which is no Exception
        if rows:
            _report(rows, noisy)  # half an hour's figures do not go with what failed after them
        raise
    return _report(rows, noisy)


def _report(rows: list[report.Row], noisy: bool) -> int:
    """The exit code: 1 when something never came. Slow is a figure, and never is none."""
    rows = [replace(row, noisy=noisy or machine.was_noisy) for row in rows]
    print("\n" + "\n\n".join(part for part in (report.markdown(rows), report.composite(rows), _settings()) if part))
    report.save(rows)
    return int(not all(math.isfinite(row.value) for row in rows))


def _arguments(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("rows", nargs="*", metavar="ROW", help="such as P5; all when none is named")
    parser.add_argument("--list", action="store_true", help="show every row, its goals and how it is measured")
    parser.add_argument(
        "--no-profiles", action="store_true", help="do not run again what misses its goal, to profile it"
    )
    parser.add_argument(
        "--even-if-noisy", action="store_true", help="for development: measure anyway, and mark the rows as noisy"
    )
    return parser.parse_args(arguments)


def _is_quiet(lenient: bool) -> bool:
    """Raises Noisy unless ``lenient``."""
    try:
        require_quiet()
    except Noisy as noise:
        if not lenient:
            raise
        print(f"  {noise}: these figures are for development only", file=sys.stderr)
        return False
    return True


def _measured(chosen: Iterable[Benchmark], *, profiled: bool) -> Iterator[list[report.Row]]:
    for environment, benchmarks in by_environment(chosen).items():
        with environment() as opened:
            for benchmark in benchmarks:
                yield _one(benchmark, opened, profiled)


def _one(benchmark: Benchmark, opened: Any, profiled: bool) -> list[report.Row]:
    print(f"{benchmark.id}: {benchmark.targets[0].what}", flush=True)
    rows = benchmark.judged(benchmark.measure(opened))
    for row in rows:
        print(f"  {row.id}: {row.value:,.4g} {row.unit}", flush=True)
    if profiled and benchmark.is_profiled and not all(row.met for row in rows):
        print("  once more, profiled", flush=True)
        with profiles.recorded(benchmark.id), redirect_stdout(io.StringIO()):
            list((benchmark.again or benchmark.measure)(opened))
        file = profiles.FOLDER / f"{benchmark.id}.md"
        profile = os.path.relpath(file) if file.exists() else ""
        rows = [row if row.met else replace(row, profile=profile) for row in rows]
    return rows


def _listed() -> str:
    lines = ["| id | what | release goal | floor | how |", "|---|---|---|---|---|"]
    lines += [f"| {t.id} | {t.what} | {t.release.text} | {t.floor.text} | {t.how} |" for t in REGISTRY.targets]
    return "\n".join(lines)


def _settings() -> str:
    return SETTINGS.format(processors=machine.processors(), seed=generator.SEED, dataset=generator.dataset())


if __name__ == "__main__":
    raise SystemExit(main(sys.argv[1:]))
