"""The archive of classes is made once, whole or not at all, and never stands in the way of a start."""

import sys
from pathlib import Path

import pytest

from cdp_devstack.class_archive import class_archive

# a JVM in so far as it takes this option, waits, and writes the file when it is told to end
TRAINED = """
import signal, sys, time
path = next(option for option in sys.argv if "AtExit" in option).partition("=")[2]
signal.signal(signal.SIGTERM, lambda *_: (open(path, "w").write("classes"), sys.exit(0)))
print("ready", flush=True)
time.sleep(60)
"""


class Brokers:
    """How often one was trained, with which program."""

    def __init__(self, program: str) -> None:
        self.program, self.trained = program, 0

    def __call__(self, directory: Path, options: list[str]) -> tuple[list[str], "Asked"]:
        self.trained += 1
        return [sys.executable, "-c", self.program, *options], Asked()


class Asked:
    """Answers after a second: by then the program has its handler."""

    times = 0

    def __call__(self) -> bool:
        self.times += 1
        return self.times > 10


@pytest.fixture
def jars(tmp_path: Path) -> Path:
    jars = tmp_path / "kafka-1"
    jars.mkdir()
    return jars


def test_the_first_start_makes_it_and_the_next_ones_use_it(jars: Path) -> None:
    brokers = Brokers(TRAINED)
    first, second = (class_archive(sys.executable, jars, brokers) for _ in range(2))
    assert first == second and brokers.trained == 1
    archive = Path(first[0].partition("=")[2])
    assert archive.read_text() == "classes"
    assert {path.name for path in jars.parent.iterdir() if path.is_dir()} == {"kafka-1"}, "nothing else is left"
    class_archive("/another/java", jars, brokers)
    assert brokers.trained == 2, "another JVM has its own"


def test_a_jvm_that_makes_none_is_asked_once(jars: Path) -> None:
    brokers = Brokers("raise SystemExit('unsupported')")
    assert [class_archive(sys.executable, jars, brokers) for _ in range(2)] == [[], []]
    assert brokers.trained == 1
