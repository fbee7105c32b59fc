"""The parts of the disk -> which may grow with the events, and which do so faster than they should."""

from collections.abc import Sequence

from bench.samples import Sample
from bench.trend import slope, warm

# what each event, person or membership leaves by design: in the topics and for messageIds until the retention's end
_GROWS = (
    "kafka events-received", "kafka events-identified", "kafka profiles-", "kafka memberships-changed",
    "kafka deliveries-reported", "kafka __", "postgres WAL", "postgres identity.",
    "postgres segmenter.profile_segments", "postgres segmenter.moments", "postgres activation.memberships",
    "postgres activation.deliveries", "postgres activation.profile_floors", "postgres activation.told_versions",
    "postgres front.quarantine",
    "clickhouse cdp.", "kafka/", "postgres/", "clickhouse/",
)  # fmt: skip
_NEVERTHELESS = (
    "postgres identity.recorder_intents",
    "postgres identity.partitions",
    "postgres identity.recorder_part",
)
# a table of one row a minute, or one that is emptied and filled: some pages, and never in step with the events
STILL_BYTES_PER_EVENT, STILL_BYTES = 1.0, 32e6
QUEUE_BYTES = 64e6  # the most that a table may hold which is always emptied: what passes between two vacuums
FASTER, NOTABLE_BYTES = 1.5, 16e6


def is_still(name: str) -> bool:
    """Whether this part of the disk has no reason to grow with the events."""
    return name.startswith(_NEVERTHELESS) or not name.startswith(_GROWS)


def growth(samples: Sequence[Sample]) -> dict[str, tuple[float, float]]:
    """Bytes by which each part of the disk grew once warm, and that per event."""
    first, last = warm_sample(samples), samples[-1]
    events = max(1, last.events - first.events)
    grown = {name: size - first.disk.get(name, 0) for name, size in last.disk.items()}
    return {name: (float(size), size / events) for name, size in grown.items()}


def swollen(samples: Sequence[Sample]) -> dict[str, float]:
    """What must not grow and did, with the bytes."""
    return {
        name: grown
        for name, (grown, each) in growth(samples).items()
        if is_still(name) and each > STILL_BYTES_PER_EVENT and grown > STILL_BYTES
    }


def long_queues(samples: Sequence[Sample]) -> dict[str, float]:
    """The tables that are emptied all the time and were too large at any moment, with the most bytes."""
    names = {name for sample in samples for name in sample.disk if name.startswith("postgres ") and is_still(name)}
    most = {name: float(max(sample.disk.get(name, 0) for sample in samples)) for name in sorted(names)}
    return {name: size for name, size in most.items() if size > QUEUE_BYTES}


def accelerating(samples: Sequence[Sample]) -> dict[str, float]:
    """What has to grow and takes more for each event than it did in the first half, as a factor."""
    found = {}
    for name, (grown, _) in growth(samples).items():
        points = [(float(sample.events), float(sample.disk.get(name, 0))) for sample in samples]
        half = len(points) // 2
        before, now = slope(points[:half]), slope(points[half:])
        if not is_still(name) and name != "postgres WAL" and grown > NOTABLE_BYTES and now > FASTER * before:
            found[name] = now / max(before, 0.01)
    return found


def warm_sample(samples: Sequence[Sample]) -> Sample:
    """The first one that counts."""
    moments = warm([(sample.seconds, 0.0) for sample in samples])
    return next(sample for sample in samples if sample.seconds == moments[0][0])
