"""Samples of a long run -> tables of what grew, and sentences that hold or do not."""

from collections.abc import Callable, Sequence

from bench.samples import Sample
from bench.stages import SERVICES
from bench.trend import percent_per_hour, slope, warm

MEMORY_GB, FLAT_PERCENT, FLAT_MB = 4.0, 1.0, 8.0
WAL_BYTES = 2.2e9  # max_wal_size, and what is written until a checkpoint is through
# what each event, person or membership leaves by design: in the topics and for messageIds until the retention's end
_GROWS = (
    "kafka events-received", "kafka events-identified", "kafka profiles-", "kafka memberships-changed",
    "kafka deliveries-reported", "kafka __", "postgres WAL", "postgres identity.", "postgres segmenter.memberships",
    "postgres segmenter.moments", "postgres activation.memberships", "postgres activation.deliveries",
    "postgres activation.profile_floors", "postgres front.quarantine", "clickhouse cdp.", "kafka/",
    "postgres/", "clickhouse/",
)  # fmt: skip
_NEVERTHELESS = (
    "postgres identity.recorder_intents",
    "postgres identity.partitions",
    "postgres identity.recorder_part",
)
# a table of one row a minute, or one that is emptied and filled: some pages, and never in step with the events
STILL_BYTES_PER_EVENT, STILL_BYTES = 1.0, 32e6
LEAST_S = 1200.0  # before that much time has passed warm, what rises says nothing
Verdict = tuple[str, bool | None]  # None: not judged


def of(samples: Sequence[Sample]) -> list[Verdict]:
    """The sentences about memory, files and disk."""
    services = [(sample.seconds, _services(sample)) for sample in samples]
    largest = max(size for _, size in services) / 1e9
    hourly, megabytes = percent_per_hour(services), slope(warm(services)) * 3600 / 1e6
    is_long = samples[-1].seconds - _warm_sample(samples).seconds >= LEAST_S
    files = {name: _trend(samples, lambda sample, name=name: sample.files.get(name, 0)) for name in SERVICES}  # type: ignore[misc]
    leaking = {name: per_hour for name, per_hour in files.items() if per_hour > 5}
    swollen = {name: size for name, size in growth(samples).items() if is_still(name) and _swells(size)}
    wal = max(sample.disk.get("postgres WAL", 0) for sample in samples)
    return [
        (f"the services hold at most {largest:.2f} GB (limit {MEMORY_GB:g} GB)", largest <= MEMORY_GB),
        (
            f"their memory rises by {hourly:+.1f} % or {megabytes:+.0f} MB an hour once warm "
            f"(flat: {FLAT_PERCENT:g} % or {FLAT_MB:g} MB)",
            (hourly <= FLAT_PERCENT or megabytes <= FLAT_MB) if is_long else None,
        ),
        (f"file descriptors stay{': ' + _listed(leaking) if leaking else ''}", not leaking),
        (f"Postgres's WAL stays below {WAL_BYTES / 1e9:g} GB: {wal / 1e9:.2f} GB", wal <= WAL_BYTES),
        (
            "nothing else grows with the events" + (f": {_listed({n: b for n, (b, _) in swollen.items()})}"
                                                    if swollen else ""),
            not swollen if is_long else not swollen or None,  # what is emptied is used again after a vacuum or two
        ),
    ]  # fmt: skip


def is_still(name: str) -> bool:
    """Whether this part of the disk has no reason to grow with the events."""
    return name.startswith(_NEVERTHELESS) or not name.startswith(_GROWS)


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Bytes by which each part of the disk grew once warm, and that per event."""
    first, last = _warm_sample(samples), samples[-1]
    events = max(1, last.events - first.events)
    grown = {name: size - first.disk.get(name, 0) for name, size in last.disk.items()}
    return {name: (float(size), size / events) for name, size in grown.items()}


def tables(samples: Sequence[Sample]) -> str:
    """Markdown: memory and files by process, disk by part, lag."""
    first, last = samples[0], samples[-1]
    lines = ["| process | MB at first | at last | %/h | MB/h | files at first | at last | most lag |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name in sorted(last.memory):
        points = [(sample.seconds, float(sample.memory[name])) for sample in samples if name in sample.memory]
        lag = max((sample.lag.get(name, 0) for sample in samples), default=0)
        lines.append(
            f"| {name} | {points[0][1] / 1e6:.0f} | {points[-1][1] / 1e6:.0f} | {percent_per_hour(points):+.1f} "
            f"| {slope(warm(points)) * 3600 / 1e6:+.1f} | {first.files.get(name, 0)} | {last.files.get(name, 0)} "
            f"| {lag:,} |"
        )
    lines += ["", "| on disk | MB at last | grown, MB | bytes per event | |", "|---|---|---|---|---|"]
    for name, (grown, each) in sorted(growth(samples).items(), key=lambda item: -item[1][0]):
        if last.disk[name] > 1e6 or grown > 1e5:
            why = "must not grow" if is_still(name) else "by design"
            lines.append(f"| {name} | {last.disk[name] / 1e6:,.1f} | {grown / 1e6:,.1f} | {each:.1f} | {why} |")
    return "\n".join([*lines, ""])


def _swells(grown: tuple[float, float]) -> bool:
    return grown[1] > STILL_BYTES_PER_EVENT and grown[0] > STILL_BYTES


def _warm_sample(samples: Sequence[Sample]) -> Sample:
    moments = warm([(sample.seconds, 0.0) for sample in samples])
    return next(sample for sample in samples if sample.seconds == moments[0][0])


def _services(sample: Sample) -> float:
    return float(sum(sample.memory.get(name, 0) for name in SERVICES))


def _trend(samples: Sequence[Sample], read: Callable[[Sample], int]) -> float:
    """Per hour, once warm."""
    return slope(warm([(sample.seconds, float(read(sample))) for sample in samples])) * 3600


def _listed(values: dict[str, float]) -> str:
    return ", ".join(f"{name} {value:+,.0f}" for name, value in values.items())
