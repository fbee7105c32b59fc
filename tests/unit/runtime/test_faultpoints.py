"""CDP_FAULT: read with sentences, acted on at the n-th reach, and every point of the table is in the code."""

import re
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from cdp_identity.recording.flush import CHECKPOINTS
from cdp_runtime import faultpoints
from cdp_runtime.faultpoints import POINTS, BadFault, Lost, arm, reach
from cdp_runtime.settings import BadSettings, ServiceSettings, load

ROOT = Path(__file__).resolve().parents[3]


@pytest.fixture(autouse=True)
def _disarmed() -> Iterator[None]:
    yield
    arm("")


def test_nothing_happens_without_a_fault() -> None:
    reach("resolver.after-commit")
    reach("a point that nobody declared")


def test_the_connection_is_lost_at_the_second_reach_only() -> None:
    arm("resolver.after-commit:2:raise,recorder.after-insert:1:sleep=0.001")
    reach("resolver.after-commit")
    with pytest.raises(Lost):
        reach("resolver.after-commit")
    reach("resolver.after-commit")
    reach("recorder.after-insert")


@pytest.mark.parametrize(("action", "number"), [("kill", signal.SIGKILL)])
def test_the_process_dies_there(action: str, number: signal.Signals) -> None:
    program = (
        f"from cdp_runtime.faultpoints import *; arm('door.after-produce:1:{action}'); reach('door.after-produce')"
    )
    assert subprocess.run([sys.executable, "-c", program], capture_output=True, check=False).returncode == -number


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("resolver.somewhere:1:kill", "no point 'resolver.somewhere'; there are gateway.before-produce"),
        ("resolver.after-commit:0:kill", "counts the reaches from 1"),
        ("resolver.after-commit", "should be point:n:action"),
        ("resolver.after-commit:1:explode", "'explode' is no action; there are kill, stop"),
        ("resolver.after-commit:1:sleep=soon", "'sleep=soon' is no action"),
    ],
)
def test_what_cannot_be_read_is_told(text: str, told: str) -> None:
    with pytest.raises(BadFault, match=re.escape(told)):
        arm(text)


def test_an_unknown_point_stops_the_start() -> None:
    done = subprocess.run(
        [Path(sys.executable).with_name("cdp"), "run", "resolver"],
        env={"CDP_FAULT": "resolver.somewhere:1:kill"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 1
    assert "CDP_FAULT: there is no point 'resolver.somewhere'" in done.stderr


def test_production_refuses_faults(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_ENVIRONMENT", "production")
    monkeypatch.setenv("CDP_SECRET_KEY", "s" * 40)
    monkeypatch.setenv("CDP_FAULT", "resolver.after-commit:1:kill")
    with pytest.raises(BadSettings, match="CDP_FAULT is for fault tests"):
        load(ServiceSettings)


def test_the_table_is_what_the_code_reaches() -> None:
    modules = [path for folder in ("services", "libs") for path in (ROOT / folder).rglob("*.py")]
    sources = [path.read_text() for path in modules if path.name != Path(faultpoints.__file__).name]
    written = {name for source in sources for name in re.findall(r'\breach\("([^"]+)"\)', source)}
    assert written | {f"recorder.{step}" for step in CHECKPOINTS} == set(POINTS)
