"""The audit of the dependencies fails on what an update mends, and on nothing that nobody can know."""

import json
import subprocess
from importlib.machinery import SourceFileLoader
from importlib.util import module_from_spec, spec_from_loader
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

AUDIT = Path(__file__).parents[2] / ".ci" / "audit"
SKIPPED = {"name": "aiohttp", "skip_reason": "Dependency not found"}
SOUND = {"name": "idna", "version": "3.1", "vulns": []}


def vulnerable(*fixes: str) -> dict[str, Any]:
    return {"name": "jinja", "version": "1.0", "vulns": [{"id": "PYSEC-1", "fix_versions": list(fixes)}]}


@pytest.fixture
def audit() -> ModuleType:
    loader = SourceFileLoader("audit", str(AUDIT))
    module = module_from_spec(spec_from_loader("audit", loader))  # type: ignore[arg-type]
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(
    ("report", "code", "said"),
    [
        ([SOUND, SOUND], 0, "2 packages, no known vulnerability"),
        ([SOUND, vulnerable("1.1")], 1, "jinja 1.0: PYSEC-1, mended in 1.1"),
        ([SOUND, vulnerable()], 0, "jinja 1.0: PYSEC-1, no fix yet"),
        ([SOUND, SKIPPED], 0, "nothing known of aiohttp"),
        ([SKIPPED, SKIPPED], 0, "skipped, no advisories can be had here: Dependency not found"),
        (None, 0, "gave no report: no network"),
    ],
)
def test_only_what_an_update_mends_fails(
    audit: ModuleType, report: Any, code: int, said: str, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    monkeypatch.delenv("CI", raising=False)
    output = "" if report is None else json.dumps({"dependencies": report})
    done = subprocess.CompletedProcess([], 1, output, "Traceback\nno network")
    monkeypatch.setattr(audit.subprocess, "run", lambda *_, **__: done)
    assert audit.main() == code
    assert said in capsys.readouterr().out
