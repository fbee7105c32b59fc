"""A command of the program ``cdp`` -> a process of its own that tests start, ask, signal and kill."""

import os
import re
import subprocess
import sys
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from signal import Signals

import httpx

CDP = str(Path(sys.executable).with_name("cdp"))


def environment(**settings: str) -> dict[str, str]:
    """Ours with these settings of Millrace and no others, but for where downloads are kept."""
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CDP_") or name == "CDP_CACHE_DIR"}
    return {**kept, **settings}


@dataclass
class CdpProcess:
    """``cdp ARGUMENTS``, as often as a test wants it to live; one at a time. Everything here blocks."""

    arguments: Sequence[str]
    environment: Mapping[str, str]
    log: Path
    process: subprocess.Popen[bytes] | None = None
    _read: int = 0  # bytes of the log that belong to the process before

    def start(self) -> None:
        """Starts it and does not wait; :meth:`wait_until_ready` does."""
        self._read = self.log.stat().st_size if self.log.exists() else 0
        with self.log.open("ab") as output:
            self.process = subprocess.Popen([CDP, *self.arguments], env=self.environment, stderr=output)

    def wait_until_ready(self, seconds: float = 90) -> None:
        """Returns when ``/readyz`` says so. AssertionError after the deadline, or when it has ended."""
        until(self.is_ready, seconds)

    def is_ready(self) -> bool:
        if self.process is not None and self.process.poll() is not None:
            raise AssertionError(f"it ended with {self.process.returncode}:\n{self._said()[-3000:]}")
        try:
            return bool(self.admin) and httpx.get(f"{self.admin}/readyz").is_success
        except httpx.HTTPError:
            return False

    @property
    def admin(self) -> str:
        """The address of its metrics and probes, as it logged it; empty before."""
        found = re.search(r'"admin": "(http://[^"]+)"', self._said())  # later ones are its children's
        return found.group(1) if found else ""

    def signal(self, number: Signals) -> None:
        assert self.process is not None
        self.process.send_signal(number)

    def ended(self, seconds: float = 45) -> int:
        """Its exit code, once it has ended."""
        assert self.process is not None
        return self.process.wait(seconds)

    def end(self, number: Signals) -> int:
        """Sends the signal and returns the exit code."""
        self.signal(number)
        return self.ended()

    def close(self) -> None:
        """Kills what a test left running."""
        if self.process is not None and self.process.poll() is None:
            self.process.kill()
            self.process.wait(20)

    def _said(self) -> str:
        return self.log.read_text(errors="replace")[self._read :] if self.log.exists() else ""


def until(condition: Callable[[], bool], seconds: float) -> None:
    """Asks until it is true; AssertionError after the deadline."""
    end = time.monotonic() + seconds
    while not condition():
        if time.monotonic() > end:
            raise AssertionError(f"not within {seconds} s: {condition}")
        time.sleep(0.05)
