"""Samples of a long run -> a table with a line for each minute: events, lag, memory, disk by kind."""

from collections.abc import Sequence

from bench.growing import is_still
from bench.samples import Sample
from bench.stages import SERVICES

_FOLDERS = ("kafka/", "postgres/", "clickhouse/")


def by_minute(samples: Sequence[Sample]) -> str:
    """Markdown, in MB; each table and topic by itself is in bench/soak.jsonl."""
    kinds = sorted({kind for sample in samples for name in sample.disk if (kind := _kind(name))})
    head = ("minute", "events", "lag", "services", "stores", *kinds)
    lines = ["| " + " | ".join(head) + " |", "|---" * len(head) + "|"]
    minute = -1
    for sample in samples:
        if int(sample.seconds // 60) > minute:
            minute = int(sample.seconds // 60)
            lines.append("| " + " | ".join(_line(sample, minute, kinds)) + " |")
    return "\n".join([*lines, ""])


def _line(sample: Sample, minute: int, kinds: Sequence[str]) -> list[str]:
    services = sum(size for name, size in sample.memory.items() if name in SERVICES)
    megabytes = [services, sum(sample.memory.values()) - services]
    megabytes += [sum(size for name, size in sample.disk.items() if _kind(name) == kind) for kind in kinds]
    return [
        str(minute),
        f"{sample.events:,}",
        f"{sum(sample.lag.values()):,}",
        *(f"{size / 1e6:,.0f}" for size in megabytes),
    ]


def _kind(name: str) -> str:
    """The column that a part of the disk counts in; none for a folder whose parts are told by themselves."""
    if name.startswith(_FOLDERS):
        return ""
    store, blank, _ = name.partition(" ")
    if "/" in store or not blank:
        return "other files"
    if name == "postgres WAL":
        return name
    return f"{store}, still" if is_still(name) else f"{store}, growing"
