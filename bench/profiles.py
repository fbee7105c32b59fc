"""A benchmark run once more -> bench/profiles/ID.md: which functions of which process took the time."""

import os
import signal
import subprocess
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import psutil

from bench.machine import family
from bench.stages import stage

FOLDER = Path(__file__).parent / "profiles"
RATE, TOP = 50, 15
_PY_SPY = Path(sys.executable).with_name("py-spy")


@dataclass(frozen=True, slots=True)
class Functions:
    """Samples of one process by function: where it was (own), and what had led there (cumulative)."""

    samples: int
    own: Counter[str]
    cumulative: Counter[str]


def folded(lines: Iterable[str]) -> Functions:
    """py-spy's raw format: one stack a line, the outermost first, and how often it was seen."""
    own: Counter[str] = Counter()
    cumulative: Counter[str] = Counter()
    samples = 0
    for line in lines:
        stack, _, count = line.strip().rpartition(" ")
        frames = [_without_line(frame) for frame in stack.split(";") if frame and not frame.startswith("process ")]
        if not frames or not count.isdigit():
            continue
        samples += int(count)
        own[frames[-1]] += int(count)
        for frame in set(frames):  # recursion is seen once
            cumulative[frame] += int(count)
    return Functions(samples, own, cumulative)


def _without_line(frame: str) -> str:
    """``poll (aiokafka/fetcher.py:120)`` -> ``poll (aiokafka/fetcher.py)``."""
    head, colon, tail = frame.rpartition(":")
    return f"{head})" if colon and tail.rstrip(")").isdigit() else frame


def markdown(title: str, processes: Sequence[tuple[str, Functions]]) -> str:
    """Processes by how busy they were; idle samples are not taken."""
    text = [f"# {title}\n\nSampled {RATE} times a second while busy; a busy second is {RATE} samples of a thread.\n"]
    for name, functions in sorted(processes, key=lambda pair: -pair[1].samples):
        text.append(f"## {name}: {functions.samples:,} samples\n\n| own | cumulative | function |\n|---|---|---|")
        leading = dict(functions.own.most_common(TOP)) | dict(functions.cumulative.most_common(TOP))
        for function in sorted(leading, key=lambda one: (-functions.own[one], -functions.cumulative[one])):
            shares = (counts[function] / functions.samples for counts in (functions.own, functions.cumulative))
            text.append(f"| {' | '.join(f'{share:.1%}' for share in shares)} | `{function}` |")
        text.append("")
    return "\n".join(text)


@contextmanager
def recorded(name: str) -> Iterator[None]:
    """Profiles every Python process below this one, and this one, while the block runs."""
    (FOLDER / f"{name}.md").unlink(missing_ok=True)  # an older one must not pass for this
    with tempfile.TemporaryDirectory(prefix="millrace-profile-") as folder:
        watched = [_watch(pid, title, Path(folder)) for pid, title in _pythons()]
        try:
            yield
        finally:
            complaints = [_finished(process) for _, _, process in watched]
        found = [(title, folded(file.read_text().splitlines())) for title, file, _ in watched if file.exists()]
        FOLDER.mkdir(exist_ok=True)
        if found := [(title, functions) for title, functions in found if functions.samples]:
            (FOLDER / f"{name}.md").write_text(markdown(name, found))
        else:
            reason = next((complaint for complaint in complaints if complaint), "py-spy said nothing")
            print(f"  no profile of {name}: {reason}", file=sys.stderr)


def _pythons() -> list[tuple[int, str]]:
    found = []
    for pid in family(os.getpid()):
        try:
            process = psutil.Process(pid)
            if Path(process.exe()).name.startswith("python"):
                found.append((pid, "the benchmark" if pid == os.getpid() else stage(process.cmdline())))
        except psutil.Error:
            continue
    return found


def _watch(pid: int, title: str, folder: Path) -> tuple[str, Path, "subprocess.Popen[str]"]:
    file = folder / f"{pid}.txt"
    command = [_PY_SPY, "record", "--pid", str(pid), "--output", file, "--format", "raw", "--rate", str(RATE)]
    # the processes are not halted for a sample: a torn one is dropped, and the others are not slowed down
    process = subprocess.Popen(
        [*map(str, command), "--nonblocking", "--duration", "unlimited"],
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        text=True,
    )
    return title, file, process


def _finished(process: "subprocess.Popen[str]") -> str:
    """Ends the profiler, which then writes; its last word when it failed, as where tracing is forbidden."""
    process.send_signal(signal.SIGINT)
    try:
        said = process.communicate(timeout=20)[1]
    except subprocess.TimeoutExpired:
        process.kill()
        return "py-spy did not end"
    lines = [line for line in said.splitlines() if line.strip()]
    return lines[-1] if process.returncode and lines else ""
