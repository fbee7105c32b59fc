"""A log that a process writes itself stays small while it goes on writing, and its lines stay whole."""

import os
import signal
import sys
import time
from pathlib import Path

import pytest

from cdp_devstack import logs
from cdp_devstack.process import Command, Process

MOST = 50_000
# 200 kB at once, then a line when it is asked for one
TALKS = """
import signal, threading
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGUSR1])
for number in range(10_000):
    print(f"line {number:06}..........", flush=number % 100 == 0)
print("a lot was said", flush=True)
signal.sigwait([signal.SIGUSR1])
print("and it goes on", flush=True)
threading.Event().wait()
"""


def until(log: Path, text: str) -> None:
    deadline = time.monotonic() + 20
    while text not in log.read_text():
        assert time.monotonic() < deadline, f"never said: {text}"
        time.sleep(0.02)


def test_a_log_is_emptied_under_the_process_that_writes_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", MOST)
    log = tmp_path / "talks.log"
    process = Process("talks", Command([sys.executable, "-c", TALKS]), log)
    process.start()
    try:
        until(log, "a lot was said")
        logs.turn_over(tmp_path)
        assert log.read_bytes() == b"", "the log begins anew"
        kept = (tmp_path / "talks.log.1").read_text().splitlines()
        assert kept[0] == "line 000000.........." and kept[-1] == "a lot was said" and len(kept) == 10_001
        os.kill(process.pid or 0, signal.SIGUSR1)
        until(log, "and it goes on")
        assert log.read_bytes() == b"and it goes on\n", "no hole where it was emptied"
    finally:
        process.kill()


def test_a_predecessor_is_replaced_and_small_logs_stay(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(logs, "MOST_BYTES", MOST)
    (tmp_path / "small.log").write_text("few words")
    for round_ in ("a", "b", "c"):
        (tmp_path / "large.log").write_text(round_ * (MOST + 1))
        logs.turn_over(tmp_path)
    assert {path.name: path.read_text()[:9] for path in tmp_path.iterdir()} == {
        "small.log": "few words",
        "large.log": "",
        "large.log.1": "c" * 9,
    }
