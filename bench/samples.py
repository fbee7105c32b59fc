"""A running stack -> one sample of what must stay bounded: memory, files, disk by part and table, and lag."""

import math
import os
import re
import time
from collections import Counter
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

import httpx
import psutil
import psycopg
from faults.stack import HTTP

from bench import stages
from bench.stages import SERVICES
from bench.whole import Whole

_SAMPLE = re.compile(r"^(cdp_consumer_lag_records|cdp_ingest_events_accepted_total)(?:{[^}]*})? (\S+)$", re.MULTILINE)
_TABLES = """
SELECT n.nspname || '.' || c.relname, pg_total_relation_size(c.oid)
FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
WHERE c.relkind = 'r' AND n.nspname NOT IN ('pg_catalog', 'information_schema', 'pg_toast')
"""
_PARTS = "SELECT database || '.' || table, sum(bytes_on_disk) FROM system.parts GROUP BY 1 FORMAT TabSeparated"


@dataclass
class Sample:
    """Everything at one moment. Bytes, but for counts; ``seconds`` since the start of the load.

    ``pids``: of the oldest process of each.
    """

    seconds: float
    events: int = 0
    memory: dict[str, int] = field(default_factory=dict)
    files: dict[str, int] = field(default_factory=dict)
    lag: dict[str, int] = field(default_factory=dict)
    disk: dict[str, int] = field(default_factory=dict)
    pids: dict[str, int] = field(default_factory=dict)

    def as_dict(self) -> dict[str, Any]:
        return asdict(self)


class Sampler:
    """Asks a stack that keeps its processes. One that does not answer leaves a gap."""

    def __init__(self, whole: Whole) -> None:
        self._whole, self._start = whole, time.monotonic()
        self._admin = {name: whole.stack.find(name).environ()["CDP_ADMIN_PORT"] for name in SERVICES}

    def sample(self) -> Sample:
        sample = Sample(time.monotonic() - self._start)
        self._processes(sample)
        for name in self._admin:
            self._metrics(name, sample)
        sample.disk = self._disk()
        return sample

    def _processes(self, sample: Sample) -> None:
        born: dict[str, float] = {}
        for pid, name in stages.by_stage(self._whole.pids).items():
            try:
                process = psutil.Process(pid)
                # what Postgres's processes share is counted once: by their proportional share
                size = _proportional(pid) if name == "postgres" else process.memory_info().rss
                sample.memory[name] = sample.memory.get(name, 0) + size
                sample.files[name] = sample.files.get(name, 0) + process.num_fds()
                if (at := process.create_time()) < born.get(name, math.inf):
                    born[name], sample.pids[name] = at, pid
            except psutil.Error:
                continue

    def _metrics(self, name: str, sample: Sample) -> None:
        try:
            page = HTTP.get(f"http://127.0.0.1:{self._admin[name]}/metrics", timeout=5).text
        except httpx.HTTPError:
            return
        for metric, value in _SAMPLE.findall(page):
            if metric.endswith("accepted_total"):
                sample.events += int(float(value))
            else:
                sample.lag[name] = sample.lag.get(name, 0) + int(float(value))

    def _disk(self) -> dict[str, int]:
        root = self._whole.stack.data_dir
        found = {f"{part.name}/ all": tree_bytes(part) for part in root.iterdir() if part.is_dir()}
        for topic, size in _topics(root).items():
            found[f"kafka {topic}"] = size
        found["postgres WAL"] = tree_bytes(root / "postgres/data/pg_wal")
        with psycopg.connect(self._whole.stack.postgres_url) as connection:
            found |= {f"postgres {name}": size for name, size in connection.execute(_TABLES)}
        for line in self._whole.ask(_PARTS).splitlines():
            table, _, bytes_on_disk = line.partition("\t")
            found[f"clickhouse {table}"] = int(bytes_on_disk)
        return found


def tree_bytes(folder: Path) -> int:
    """What the files below take on disk, not what they say; files that vanish meanwhile count nothing."""
    total = 0
    for where, _, files in os.walk(folder):
        for name in files:
            try:
                total += os.lstat(os.path.join(where, name)).st_blocks * 512
            except OSError:
                continue
    return total


def _topics(root: Path) -> Counter[str]:
    """Bytes by topic: the broker has a folder for each partition, NAME-NUMBER."""
    found: Counter[str] = Counter()
    for folder in root.glob("kafka/data/*-*"):
        name, _, number = folder.name.rpartition("-")
        if folder.is_dir() and number.isdigit():
            found[name] += tree_bytes(folder)
    return found


def _proportional(pid: int) -> int:
    """Pss of a process, in bytes; its Rss where the system does not tell."""
    try:
        with open(f"/proc/{pid}/smaps_rollup") as rollup:
            return next(int(line.split()[1]) * 1024 for line in rollup if line.startswith("Pss:"))
    except (OSError, StopIteration):
        return int(psutil.Process(pid).memory_info().rss)
