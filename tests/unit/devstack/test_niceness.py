"""Whoever somebody waits for has the processors first when they are busy."""

import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cdp_devstack.process import CHILD, NOBODY, Process
from cdp_devstack.programs import services


@pytest.mark.parametrize(("name", "niceness"), [("analytics-api", -10), ("ingest", 0), ("resolver", 15)])
def test_services_behind_the_doors_leave_busy_processors_to_those_at_the_doors(
    tmp_path: Path, name: str, niceness: int
) -> None:
    (program,) = (one for one in services({}, list(range(9100, 9110))) if one.name == name)
    process = Process(name, replace(program.command, argv=["sleep", "60"]), tmp_path / "log")
    own = psutil.Process().nice()
    process.start()
    try:
        assert process.pid
        running = psutil.Process(process.pid)
        by = time.monotonic() + 10
        while running.name() != "sleep":  # it becomes the program after it has set itself up
            assert time.monotonic() < by
            time.sleep(0.01)
        assert running.nice() == (min(own + niceness, 19) if niceness >= 0 or _may_go_first() else own)
    finally:
        process.kill()


@pytest.mark.skipif(not Path("/proc/self/autogroup").exists(), reason="no sessions that share processors out")
def test_of_many_that_an_ordinary_user_starts_at_once_each_gets_its_niceness() -> None:
    program = [os.path.realpath(sys.executable), "-I", "-S", "-c", CHILD.read_text(), str(os.getpid()), "9"]
    command = [*program, str(NOBODY), str(NOBODY), "15", "cat", "/proc/self/autogroup"]
    ordinary = 65534 if os.geteuid() == 0 else None
    started = [subprocess.Popen(command, user=ordinary, stdout=subprocess.PIPE, text=True, cwd="/") for _ in range(6)]
    told = [process.communicate(timeout=30)[0] for process in started]
    assert [line.split()[-2:] for line in told] == [["nice", "15"]] * 6


def _may_go_first() -> bool:
    return subprocess.run([sys.executable, "-c", "import os; os.nice(-1)"], capture_output=True).returncode == 0
