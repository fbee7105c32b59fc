"""Whoever somebody waits for has the processors first when they are busy."""

import time
from dataclasses import replace
from pathlib import Path

import psutil
import pytest

from cdp_devstack.process import Process
from cdp_devstack.programs import services


@pytest.mark.parametrize(("name", "niceness"), [("analytics-api", 0), ("ingest", 0), ("resolver", 15)])
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
        assert running.nice() == min(own + niceness, 19)
    finally:
        process.kill()
