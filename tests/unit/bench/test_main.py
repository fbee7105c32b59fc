"""Rows that were measured before one fails are printed and kept."""

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from bench import __main__ as command
from bench import report
from bench.registry import Benchmark, Registry, nothing

from tests.unit.bench.test_registry import target

Run = Callable[..., list[str]]


@pytest.fixture
def run(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> Run:
    """Runs benches and returns the rows that are kept then; those of an earlier run are there before."""
    kept = tmp_path / "results.json"
    kept.write_text(json.dumps([{"id": "X0"}]))
    monkeypatch.setattr(command, "require_quiet", lambda: None)
    monkeypatch.setattr(report.save, "__defaults__", (kept,))

    def run(failure: type[BaseException], *benches: Benchmark) -> list[str]:
        monkeypatch.setattr(command, "REGISTRY", Registry(benches))
        with pytest.raises(failure, match="no such column"):
            command.main(["--no-profiles"])
        return [one["id"] for one in json.loads(kept.read_text())]

    return run


def good(name: str) -> Benchmark:
    row = target(name)
    return Benchmark([row], nothing, lambda _: [row.row(0.5)])


def bad(name: str, error: BaseException) -> Benchmark:
    def failing(_: Any) -> list[report.Row]:
        raise error

    return Benchmark([target(name)], nothing, failing)


@pytest.mark.parametrize("error", [RuntimeError("no such column"), pytest.fail.Exception("no such column")])
def test_a_row_that_fails_takes_no_others_with_it(
    error: BaseException, run: Run, capsys: pytest.CaptureFixture[str]
) -> None:
    """However it fails: what waits for the stack gives up as a test does."""
    assert run(type(error), good("X1"), bad("X2", error)) == ["X1"]
    assert "| X1 | a thing | 0.5 s |" in capsys.readouterr().out


def test_where_nothing_was_measured_the_last_results_stay(run: Run) -> None:
    assert run(RuntimeError, bad("X1", RuntimeError("no such column")), good("X2")) == ["X0"]
