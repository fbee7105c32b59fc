"""Rows that were measured before one fails are printed and kept."""

import json
from pathlib import Path
from typing import Any

import pytest
from bench import __main__ as command
from bench import report
from bench.registry import Benchmark, Registry, nothing

from tests.unit.bench.test_registry import target


def test_a_row_that_fails_takes_no_others_with_it(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    def failing(_: Any) -> list[report.Row]:
        raise RuntimeError("no such column")

    good, bad = target("X1"), target("X2")
    registry = Registry([Benchmark([good], nothing, lambda _: [good.row(0.5)]), Benchmark([bad], nothing, failing)])
    monkeypatch.setattr(command, "REGISTRY", registry)
    monkeypatch.setattr(command, "require_quiet", lambda: None)
    kept = tmp_path / "results.json"
    monkeypatch.setattr(report.save, "__defaults__", (kept,))
    with pytest.raises(RuntimeError, match="no such column"):
        command.main(["--no-profiles"])
    assert "| X1 | a thing | 0.5 s |" in capsys.readouterr().out
    assert [one["id"] for one in json.loads(kept.read_text())] == ["X1"]
