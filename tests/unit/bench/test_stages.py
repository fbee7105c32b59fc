"""Processes that come and go while something is measured -> the CPU that was used meanwhile, and no other."""

import subprocess
import sys
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from bench.machine import family
from bench.stages import Spent

BURNT = 0.3
# on "b" a child burns that much and waits, on "e" it ends; each is answered when it is so
PARENT = f"""
import subprocess, sys
burn = "import time\\nwhile time.process_time() < {BURNT}: pass\\nprint('burnt', flush=True); input()"
for line in sys.stdin:
    if line == "b\\n":
        child = subprocess.Popen([sys.executable, "-S", "-c", burn], stdin=subprocess.PIPE, stdout=subprocess.PIPE)
        child.stdout.readline()
    else:
        child.communicate(b"\\n")
    print("done", flush=True)
"""


@pytest.fixture
def tell() -> Iterator[tuple[Callable[[], list[int]], Callable[[str], None]]]:
    """The pids of a process and its children, and what tells it to have one or to end it."""
    with subprocess.Popen([sys.executable, "-c", PARENT], stdin=subprocess.PIPE, stdout=subprocess.PIPE) as parent:
        pipes: Any = parent

        def told(what: str) -> None:
            pipes.stdin.write(what.encode() + b"\n")
            pipes.stdin.flush()
            assert pipes.stdout.readline() == b"done\n"

        yield lambda: family(parent.pid), told
        parent.kill()


def test_who_was_born_meanwhile_counts(tell) -> None:
    pids, told = tell
    spent = Spent(pids)
    told("b")
    assert BURNT - 0.05 <= spent.seconds().total() <= BURNT + 0.2
    told("e")
    assert BURNT - 0.05 <= spent.seconds().total() <= BURNT + 0.2, "and its end neither adds nor takes anything"


def test_what_somebody_used_before_does_not_count_when_they_end(tell) -> None:
    pids, told = tell
    told("b")
    spent = Spent(pids)
    told("e")
    assert spent.seconds().total() <= 0.2
