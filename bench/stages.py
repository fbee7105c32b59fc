"""A stack's processes -> CPU seconds by stage, so that the cost of an event can be told apart."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence

import psutil

from bench.machine import cpu_seconds

SERVICES = ("ingest", "resolver", "recorder", "segmenter", "activation", "analytics-api")
_PARTS = (
    ("kafka", "kafka.Kafka"),
    ("clickhouse", "cdp_devstack.clickhouse"),
    ("redis", "redis-server"),
    ("platforms", "run-local platforms"),
)


def stage(command: Sequence[str]) -> str:
    """The stage that a process with this command line is, ``supervisor`` when it is none."""
    line = " ".join(command)
    if "cdp run " in line:
        return line.rpartition("cdp run ")[2].split()[0]
    # the server's own processes rename themselves: "postgres: walwriter"
    if "postgres" in line.split(" ")[0]:
        return "postgres"
    return next((name for name, mark in _PARTS if mark in line), "supervisor")


def by_stage(pids: Iterable[int]) -> dict[int, str]:
    """The stage of each process that is still there; a service's own workers count as that service."""
    found = {}
    for pid in pids:
        try:
            found[pid] = _stage(psutil.Process(pid))
        except psutil.Error:
            continue
    return found


def _stage(process: psutil.Process) -> str:
    own = stage(process.cmdline())
    parent = process.parent()
    if own == "supervisor" and parent is not None and stage(parent.cmdline()) in SERVICES:
        return stage(parent.cmdline())
    return own


class Spent:
    """CPU seconds by stage since it was made, also of processes that came meanwhile or went.

    What ended is in the sum of its parent, whose stage it has: so sums of stages are compared, and not processes.
    """

    def __init__(self, pids: Callable[[], Iterable[int]]) -> None:
        """``pids``: those that are there when it is asked."""
        self._pids = pids
        self._before = self._sums()

    def seconds(self) -> Counter[str]:
        now = self._sums()
        now.subtract(self._before)
        return now

    def _sums(self) -> Counter[str]:
        sums: Counter[str] = Counter()
        for pid, name in by_stage(self._pids()).items():
            sums[name] += cpu_seconds([pid])  # type: ignore[assignment]
        return sums


def table(seconds: Mapping[str, float], events: int, of: str = "event") -> str:
    """Microseconds per event and stage, the dearest first. ``of``: what is counted instead of events."""
    lines = [f"| stage | CPU-µs per {of} | share |", "|---|---|---|"]
    total = sum(seconds.values()) or 1.0
    for name, spent in sorted(seconds.items(), key=lambda item: -item[1]):
        lines.append(f"| {name} | {spent / events * 1e6:.1f} | {spent / total:.0%} |")
    return "\n".join([*lines, f"| all | {total / events * 1e6:.1f} | |"])
