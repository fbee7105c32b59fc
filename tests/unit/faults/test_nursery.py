"""What the nursery bears is the program with its own environment and log, and is gone when it is killed."""

import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
from faults.nursery import Child, Nursery

pytestmark = pytest.mark.skipif(not hasattr(os, "pidfd_open"), reason="no handles of processes here")


@pytest.fixture(scope="module")
def nursery(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nursery]:
    made = Nursery(tmp_path_factory.mktemp("nursery") / "nursery.log")
    yield made
    made.close()


def test_a_child_runs_the_program_with_its_environment(nursery: Nursery, tmp_path: Path) -> None:
    child = Child(nursery, ["config", "--diff"], {"CDP_INGEST_PORT": "4321"}, tmp_path / "logs" / "child.log")
    child.start()
    assert child.wait(20) is not None
    assert not child.is_running
    said = (tmp_path / "logs" / "child.log").read_text()
    assert "CDP_INGEST_PORT" in said and "4321" in said


def test_a_child_that_is_killed_is_gone_and_its_successor_starts(nursery: Nursery, tmp_path: Path) -> None:
    settings = {"CDP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "CDP_INGEST_PORT": "0"}
    child = Child(nursery, ["run", "ingest"], settings, tmp_path / "child.log")
    for _ in range(2):
        child.start()
        assert child.is_running
        assert child.pid is not None
        os.kill(child.pid, signal.SIGSTOP)  # a stopped one dies too
        child.kill()
        assert not child.is_running
        assert child.wait(0) is not None


def test_a_child_that_is_asked_to_stop_drains(nursery: Nursery, tmp_path: Path) -> None:
    log = tmp_path / "child.log"
    child = Child(
        nursery, ["run", "ingest"], {"CDP_KAFKA_BOOTSTRAP_SERVERS": "127.0.0.1:1", "CDP_INGEST_PORT": "0"}, log
    )
    child.start()
    end = time.monotonic() + 30
    while "gateway_listening" not in log.read_text() and time.monotonic() < end:
        time.sleep(0.05)
    child.stop()
    assert "process_stopped" in log.read_text()


def test_children_die_with_the_nursery(nursery: Nursery, tmp_path: Path) -> None:
    child = Child(nursery, ["run", "ingest"], {"CDP_INGEST_PORT": "0"}, tmp_path / "child.log")
    child.start()
    nursery.close()
    assert child.wait(10) is not None
    with pytest.raises(OSError):
        Child(nursery, ["run", "ingest"], {}, tmp_path / "child.log").start()
