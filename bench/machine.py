"""Processes -> CPU seconds from /proc; the machine -> whether it is quiet enough to measure on."""

import os
import time
from collections.abc import Iterable
from dataclasses import dataclass

import psutil

_TICKS = os.sysconf("SC_CLK_TCK")
SPREAD_LIMIT = 0.35
# for development, where figures of a noisy machine are better than none: they are marked instead of refused
lenient = was_noisy = False


class Noisy(RuntimeError):
    """Something else used the processors, or the baseline's own figures lie too far apart: no figure is reported."""


def cpu_seconds(pids: Iterable[int]) -> float:
    """utime + stime of the processes, with children that ended; a process that is gone counts nothing."""
    total = 0
    for pid in pids:
        try:
            with open(f"/proc/{pid}/stat") as stat:
                fields = stat.read().rpartition(")")[2].split()
        except OSError:
            continue
        total += sum(int(fields[index]) for index in (11, 12, 13, 14))
    return total / _TICKS


def processors() -> int:
    """How many this process may use."""
    return len(os.sched_getaffinity(0))


def family(pid: int) -> list[int]:
    """A process and all below it."""
    try:
        root = psutil.Process(pid)
        return [pid, *(child.pid for child in root.children(recursive=True))]
    except psutil.Error:
        return []


def require_quiet(seconds: float = 2.0, limit: float = 0.25) -> None:
    """Raises Noisy when others use more than ``limit`` of the processors right now."""
    busy = psutil.cpu_percent(seconds) / 100
    if busy > limit:
        raise Noisy(
            f"the machine is {busy:.0%} busy before anything was started; stop what else runs and measure again"
        )


@dataclass(frozen=True, slots=True)
class Series:
    """Figures of several rounds; the median is what is quoted."""

    values: tuple[float, ...]

    @property
    def median(self) -> float:
        ordered = sorted(self.values)
        middle = len(ordered) // 2
        return ordered[middle] if len(ordered) % 2 else (ordered[middle - 1] + ordered[middle]) / 2

    @property
    def spread(self) -> float:
        """(max - min) / median."""
        return (max(self.values) - min(self.values)) / self.median

    def __str__(self) -> str:
        return f"{self.median:,.0f} ({min(self.values):,.0f}–{max(self.values):,.0f})"


def require_steady(name: str, series: Series) -> None:
    """Raises Noisy when a baseline's rounds lie too far apart to compare anything with them."""
    global was_noisy
    if series.spread <= SPREAD_LIMIT:
        return
    noise = Noisy(f"the rounds of {name} lie {series.spread:.0%} apart ({series}): the machine is too noisy")
    if not lenient:
        raise noise
    was_noisy = True


def usage(pids: Iterable[int]) -> float:
    """Cores that the processes together use, during a second."""
    listed = list(pids)
    before = cpu_seconds(listed)
    time.sleep(1.0)
    return cpu_seconds(listed) - before
