"""One child process: a command in, a process out that ends with its parent, logs to a file and stops by a deadline."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO

CHILD = Path(__file__).with_name("child.py")
NOBODY = -1  # the uid that means: stay who you are
# niceness: of what people look at, before the sessions that answer it; of what nobody waits for, which catches up later
FIRST, BEHIND_THE_DOOR = -10, 15


@dataclass(frozen=True)
class Command:
    """What to run, and how it wants to be told to stop."""

    argv: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)
    uid: int = NOBODY
    gid: int = NOBODY
    stop_signal: signal.Signals = signal.SIGTERM
    stop_seconds: float = 10.0
    death_signal: signal.Signals = signal.SIGKILL
    """Sent by the kernel when the thread that started the process is gone, even after its kill -9."""

    niceness: int = 0
    """How readily it leaves busy processors to others, as in nice(1); below 0 where the system allows it."""

    notice: str = ""
    """Something the person at the terminal must know."""

    def wrapped(self) -> list[str]:
        """The command line that ties the program to this process."""
        tie = [str(os.getpid()), str(int(self.death_signal)), str(self.uid), str(self.gid), str(self.niceness)]
        return [sys.executable, "-I", "-S", str(CHILD), *tie, *self.argv]


class Process:
    """A started command. `start` must be called on a thread that lives as long as the process should."""

    def __init__(self, name: str, command: Command, log: Path) -> None:
        self.name = name
        self.command = command
        self.log = log
        self._popen: subprocess.Popen[bytes] | None = None

    def start(self) -> None:
        """Start it; its output is appended to the log."""
        self.log.parent.mkdir(parents=True, exist_ok=True)
        with self.log.open("ab") as output:
            self._popen = subprocess.Popen(
                self.command.wrapped(),
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=subprocess.STDOUT,
                env={**os.environ, **self.command.environment},
            )

    @property
    def pid(self) -> int | None:
        """Its process id, also after it ended."""
        return self._popen.pid if self._popen else None

    @property
    def returncode(self) -> int | None:
        """None while it runs (and before it was started)."""
        return self._popen.poll() if self._popen else None

    @property
    def is_running(self) -> bool:
        """Whether it was started and has not ended."""
        return self._popen is not None and self._popen.poll() is None

    def ask_to_stop(self) -> None:
        """Send its stop signal, without waiting."""
        if self._popen and self.is_running:
            self._popen.send_signal(self.command.stop_signal)

    def stop(self) -> None:
        """Ask it to stop, and kill it with everything it started if it is still there at the deadline. Blocks."""
        self.ask_to_stop()
        self.wait(self.command.stop_seconds)
        self.kill()

    def wait(self, seconds: float) -> int | None:
        """Its exit code, or None when it still runs after so many seconds. Blocks."""
        if not self._popen:
            return None
        try:
            return self._popen.wait(seconds)
        except subprocess.TimeoutExpired:
            return None

    def kill(self) -> None:
        """SIGKILL it and the whole process group it leads."""
        if not self._popen:
            return
        try:
            os.killpg(self._popen.pid, signal.SIGKILL)
        except (ProcessLookupError, PermissionError):
            if self.is_running:  # it has not reached setsid yet
                self._popen.kill()
        self._popen.wait()

    def last_words(self, lines: int = 3) -> str:
        """The end of its log, for an error message."""
        if not self.log.exists():
            return ""
        with self.log.open("rb") as file:
            return _tail(file, lines)


def _tail(file: IO[bytes], lines: int) -> str:
    file.seek(0, os.SEEK_END)
    file.seek(max(0, file.tell() - 4096))
    text = file.read().decode(errors="replace").strip().splitlines()
    return " | ".join(line.strip() for line in text[-lines:])
