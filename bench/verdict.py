"""Samples of a long run -> sentences that hold or do not, and tables of what grew."""

from collections.abc import Callable, Sequence

from bench.growing import FASTER, QUEUE_BYTES, accelerating, growth, is_still, long_queues, swollen, warm_sample
from bench.samples import Sample
from bench.stages import SERVICES
from bench.trend import percent_per_hour, slope, warm

MEMORY_GB, FLAT_PERCENT, FLAT_MB = 4.0, 1.0, 8.0
WAL_BYTES = 2.2e9  # max_wal_size, and what is written until a checkpoint is through
FALLING_BEHIND = 0.05  # of the events
LEAST_S = 1200.0  # before that much time has passed warm, what rises says nothing
Verdict = tuple[str, bool | None]  # None: not judged


def of(samples: Sequence[Sample]) -> list[Verdict]:
    """The sentences about memory, files, lag and disk."""
    is_long = samples[-1].seconds - warm_sample(samples).seconds >= LEAST_S
    return [_lives(samples), *_memory(samples, is_long), _lag(samples, is_long), *_disk(samples, is_long)]


def tables(samples: Sequence[Sample]) -> str:
    """Markdown: memory and files by process, disk by part, lag."""
    first, last = samples[0], samples[-1]
    lines = ["| process | MB at first | at last | %/h | MB/h | files at first | at last | most lag |",
             "|---|---|---|---|---|---|---|---|"]  # fmt: skip
    for name in sorted(last.memory):
        points = _memory_of(samples, name)
        lag = max((sample.lag.get(name, 0) for sample in samples), default=0)
        lines.append(
            f"| {name} | {points[0][1] / 1e6:.0f} | {points[-1][1] / 1e6:.0f} | {percent_per_hour(points):+.1f} "
            f"| {slope(warm(points)) * 3600 / 1e6:+.1f} | {first.files.get(name, 0)} | {last.files.get(name, 0)} "
            f"| {lag:,} |"
        )
    lines += ["", "| on disk | MB at most | at last | grown, MB | bytes per event | |", "|---|---|---|---|---|---|"]
    for name, (grown, each) in sorted(growth(samples).items(), key=lambda item: -item[1][0]):
        most = max(sample.disk.get(name, 0) for sample in samples)
        if most > 1e6 or grown > 1e5:
            megabytes = " | ".join(f"{size / 1e6:,.1f}" for size in (most, last.disk[name], grown))
            lines.append(
                f"| {name} | {megabytes} | {each:.1f} | {'must not grow' if is_still(name) else 'by design'} |"
            )
    return "\n".join([*lines, ""])


def _lives(samples: Sequence[Sample]) -> Verdict:
    """Whoever is started again begins with little memory: only who lives through it all has shown anything."""
    first = samples[0].pids
    ended = sorted({name for sample in samples for name in first if sample.pids.get(name) != first[name]})
    return f"no process ended{': ' if ended else ''}{', '.join(ended)}", not ended


def _memory(samples: Sequence[Sample], is_long: bool) -> list[Verdict]:
    services = [(sample.seconds, _services(sample)) for sample in samples]
    largest = max(size for _, size in services) / 1e9
    hourly, megabytes = percent_per_hour(services), slope(warm(services)) * 3600 / 1e6
    by_service = {name: _memory_of(samples, name) for name in SERVICES}
    rising = {name: slope(warm(points)) * 3600 / 1e6 for name, points in by_service.items() if not _is_flat(points)}
    files = {name: _trend(samples, lambda sample, name=name: sample.files.get(name, 0)) for name in SERVICES}  # type: ignore[misc]
    leaking = {name: per_hour for name, per_hour in files.items() if per_hour > 5}
    return [
        (f"the services hold at most {largest:.2f} GB (limit {MEMORY_GB:g} GB)", largest <= MEMORY_GB),
        (
            f"their memory rises by {hourly:+.1f} % or {megabytes:+.0f} MB an hour in the second half "
            f"(flat: {FLAT_PERCENT:g} % or {FLAT_MB:g} MB)",
            _is_flat(services) if is_long else None,
        ),
        (f"that of each is flat{_listed(rising, ' MB/h')}", not rising if is_long else None),
        (f"file descriptors stay{_listed(leaking)}", not leaking),
    ]


def _lag(samples: Sequence[Sample], is_long: bool) -> Verdict:
    rate = slope(warm([(sample.seconds, float(sample.events)) for sample in samples]))
    behind = _trend(samples, lambda sample: sum(sample.lag.values())) / 3600
    most = max(sum(sample.lag.values()) for sample in samples)
    said = f"nobody falls behind: lag is {most:,} records at most and rises by {behind * 3600:+,.0f} an hour"
    return said, behind <= FALLING_BEHIND * rate if is_long else None


def _disk(samples: Sequence[Sample], is_long: bool) -> list[Verdict]:
    wal = max(sample.disk.get("postgres WAL", 0) for sample in samples)
    queues = {name: size / 1e6 for name, size in long_queues(samples).items()}
    grown = {name: size / 1e6 for name, size in swollen(samples).items()}
    faster = accelerating(samples)
    return [
        (f"Postgres's WAL stays below {WAL_BYTES / 1e9:g} GB: {wal / 1e9:.2f} GB", wal <= WAL_BYTES),
        (f"each table that is emptied stays below {QUEUE_BYTES / 1e6:g} MB{_listed(queues, ' MB')}", not queues),
        # what is emptied is used again after a vacuum or two
        (f"nothing else grows with the events{_listed(grown, ' MB')}", not grown if is_long else not grown or None),
        (
            f"what has to grow takes no more for each event than before (x {FASTER:g}){_listed(faster, ' times')}",
            not faster if is_long else None,
        ),
    ]


def _is_flat(points: Sequence[tuple[float, float]]) -> bool:
    return percent_per_hour(points) <= FLAT_PERCENT or slope(warm(points)) * 3600 / 1e6 <= FLAT_MB


def _memory_of(samples: Sequence[Sample], name: str) -> list[tuple[float, float]]:
    return [(sample.seconds, float(sample.memory[name])) for sample in samples if name in sample.memory]


def _services(sample: Sample) -> float:
    return float(sum(sample.memory.get(name, 0) for name in SERVICES))


def _trend(samples: Sequence[Sample], read: Callable[[Sample], int]) -> float:
    """Per hour, once warm."""
    return slope(warm([(sample.seconds, float(read(sample))) for sample in samples])) * 3600


def _listed(values: dict[str, float], unit: str = "") -> str:
    return "".join(f"{'; ' if n else ': '}{name} {value:+,.1f}{unit}" for n, (name, value) in enumerate(values.items()))
