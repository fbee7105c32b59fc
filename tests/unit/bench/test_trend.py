"""How fast a series rises, and which parts of the disk may."""

import pytest
from bench.samples import Sample, tree_bytes
from bench.trend import percent_per_hour, slope, warm
from bench.verdict import growth, is_still, of


def test_the_slope_is_not_moved_by_a_jump() -> None:
    points = [(float(second), 100 + second / 10) for second in range(0, 600, 10)]
    points[30] = (300.0, 5000.0)
    assert slope(points) == pytest.approx(0.1, rel=0.05)


def test_the_beginning_does_not_count() -> None:
    """What is filled in the first quarter is no leak."""
    points = [(float(second), min(100.0, float(second))) for second in range(400)]
    assert len(warm(points)) == 300 and percent_per_hour(points) == 0
    assert slope([]) == slope([(0.0, 1.0)]) == percent_per_hour([]) == 0


def run(**rising: float) -> list[Sample]:
    """An hour at 1,000 events a second; each named part of the disk grows by so many bytes an event."""
    return [
        Sample(
            seconds, events=seconds * 1000, memory={"ingest": 100_000_000}, files={"ingest": 50},
            disk={name.replace("__", " "): int(1e6 + each * seconds * 1000) for name, each in rising.items()},
        )
        for seconds in range(0, 3601, 60)
    ]  # fmt: skip


def holds(samples: list[Sample], about: str) -> bool | None:
    return next(good for said, good in of(samples) if about in said)


def test_a_log_may_grow_with_the_events_and_an_outbox_may_not() -> None:
    assert holds(run(**{"kafka__events-received": 300.0}), "nothing else grows")
    outbox = run(**{"postgres__segmenter.outbox": 300.0})
    assert not holds(outbox, "nothing else grows")
    assert growth(outbox)["postgres segmenter.outbox"][1] == pytest.approx(300, rel=0.01)


@pytest.mark.parametrize(
    ("name", "still"),
    [
        ("kafka events-received", False),
        ("postgres identity.nodes", False),
        ("clickhouse cdp.events", False),
        ("postgres segmenter.moments", False),
        ("clickhouse system.query_log", True),
        ("postgres identity.recorder_intents", True),
        ("postgres identity.partitions", True),
        ("postgres ingest.accepted", True),
        ("postgres front.audit", True),
        ("logs/", True),
    ],
)
def test_what_must_not_grow(name, still) -> None:
    assert is_still(name) is still


def test_memory_that_rises_is_told() -> None:
    samples = run()
    assert holds(samples, "memory rises")
    for sample in samples:
        sample.memory["ingest"] += int(sample.seconds * 20_000)
    assert not holds(samples, "memory rises")


def test_a_short_run_does_not_judge_what_rises() -> None:
    assert holds(run()[:10], "memory rises") is None
    assert holds(run(**{"postgres__segmenter.outbox": 300.0})[:10], "nothing else grows") is None
    assert holds(run()[:10], "nothing else grows") is True


def test_files_that_are_never_closed_are_told() -> None:
    samples = run()
    assert holds(samples, "file descriptors")
    for sample in samples:
        sample.files["ingest"] += int(sample.seconds / 60)
    assert not holds(samples, "file descriptors")


def test_bytes_below_a_folder_are_those_on_disk(tmp_path) -> None:
    (tmp_path / "part").mkdir()
    (tmp_path / "part" / "a").write_bytes(b"x" * 10_000)
    with (tmp_path / "sparse").open("wb") as file:
        file.truncate(1 << 30)
    assert 10_000 <= tree_bytes(tmp_path) < 100_000
