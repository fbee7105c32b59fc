"""What the forge runs is what the Makefile offers: the one test command, and the audit on a schedule."""

import importlib.machinery
import importlib.util
import os
import re
import subprocess
from types import ModuleType
from typing import Any

import pytest
import yaml

from .repository import ROOT

WORKFLOWS = {path.stem: path for path in sorted((ROOT / ".github" / "workflows").glob("*.yml"))}
TARGETS = set(re.findall(r"^([a-z-]+(?: [a-z-]+)*):", (ROOT / "Makefile").read_text(), re.MULTILINE))


def workflow(name: str) -> dict[str, Any]:
    """YAML 1.1 reads the key ``on`` as True."""
    found = yaml.safe_load(WORKFLOWS[name].read_text())
    return {("on" if key is True else key): value for key, value in found.items()}


def commands(name: str) -> list[str]:
    return [step["run"] for job in workflow(name)["jobs"].values() for step in job["steps"] if "run" in step]


def test_every_workflow_can_only_read_and_ends() -> None:
    assert set(WORKFLOWS) == {"ci", "audit"}
    for name in WORKFLOWS:
        assert workflow(name)["permissions"] == {"contents": "read"}
        assert all(job["timeout-minutes"] <= 60 for job in workflow(name)["jobs"].values())


def test_changes_run_the_one_test_command_and_nothing_beside_it() -> None:
    assert {"push", "pull_request"} <= set(workflow("ci")["on"])
    assert [line for line in commands("ci") if not line.startswith("apt-get ")] == [".ci/run"]
    run = ROOT / ".ci" / "run"
    assert os.access(run, os.X_OK)
    assert run.read_text().rstrip().endswith("\nmake test")
    installed = set(re.findall(r"apt-get install -y -qq (\w+)", run.read_text()))
    assert installed == {"chromium", "prometheus"}, "what tests are left out without"


def test_the_audit_runs_by_itself_and_when_the_lock_changes() -> None:
    triggers = workflow("audit")["on"]
    assert triggers["schedule"] and "requirements.lock" in triggers["pull_request"]["paths"]
    assert commands("audit") == ["make audit"]
    dry = subprocess.run(["make", "-n", "audit"], cwd=ROOT, capture_output=True, text=True, check=True)
    assert ".ci/audit" in dry.stdout


def test_make_targets_of_workflows_exist() -> None:
    asked = {word for name in WORKFLOWS for line in commands(name) for word in re.findall(r"\bmake ([a-z-]+)", line)}
    offered = {word for line in TARGETS for word in line.split()}
    # `make` among the packages that are installed is no call
    assert {target for target in asked if target != "maven"} <= offered


@pytest.fixture
def audit() -> ModuleType:
    loader = importlib.machinery.SourceFileLoader("audit", str(ROOT / ".ci" / "audit"))
    spec = importlib.util.spec_from_loader("audit", loader)
    assert spec is not None
    module = importlib.util.module_from_spec(spec)
    loader.exec_module(module)
    return module


@pytest.mark.parametrize(("ci", "code"), [("", 0), ("true", 1)])
def test_an_audit_that_nobody_answers_fails_where_it_counts(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, ci: str, code: int
) -> None:
    def nobody(requirements: Any) -> Any:
        raise audit.CannotAudit("no advisories can be had here")

    monkeypatch.setenv("CI", ci)
    monkeypatch.setattr(audit, "asked", nobody)
    assert audit.main() == code


def test_what_an_update_mends_fails_and_what_nobody_can_mend_is_told(
    audit: ModuleType, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    mendable = {"name": "a", "version": "1", "vulns": [{"id": "X-1", "fix_versions": ["2"]}]}
    open_one = {"name": "b", "version": "1", "vulns": [{"id": "X-2", "fix_versions": []}]}
    for report, code in (([open_one], 0), ([open_one, mendable], 1)):
        monkeypatch.setattr(audit, "asked", lambda requirements, report=report: report)
        assert audit.main() == code
    told = capsys.readouterr().out
    assert "b 1: X-2, no fix yet" in told and "a 1: X-1, mended in 2" in told
