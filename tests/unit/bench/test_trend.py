"""How fast a series rises, and which parts of the disk may."""

import pytest
from bench.growing import growth, is_still
from bench.history import by_minute
from bench.samples import Sample, tree_bytes
from bench.trend import percent_per_hour, slope, warm
from bench.verdict import of


def test_the_slope_is_not_moved_by_a_jump() -> None:
    points = [(float(second), 100 + second / 10) for second in range(0, 600, 10)]
    points[30] = (300.0, 5000.0)
    assert slope(points) == pytest.approx(0.1, rel=0.05)


def test_the_beginning_does_not_count() -> None:
    """What is filled in the first half is no leak."""
    points = [(float(second), min(200.0, float(second))) for second in range(400)]
    assert len(warm(points)) == 200 and percent_per_hour(points) == 0
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


def said(samples: list[Sample], about: str) -> str:
    return next(words for words, _ in of(samples) if about in words)


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


@pytest.mark.parametrize("after", [{"resolver": 9}, {}], ids=["started again", "gone"])
def test_who_ended_meanwhile_is_told(after: dict[str, int]) -> None:
    """Its memory is flat, and its files are few."""
    samples = run()
    for sample in samples:
        sample.pids = {"ingest": 1, "resolver": 2}
    assert holds(samples, "no process ended")
    samples[30].pids = {"ingest": 1, **after}
    assert said(samples, "no process ended") == "no process ended: resolver"
    assert not holds(samples, "no process ended")


def test_memory_that_rises_is_told() -> None:
    samples = run()
    assert holds(samples, "memory rises")
    for sample in samples:
        sample.memory["ingest"] += int(sample.seconds * 20_000)
    assert not holds(samples, "memory rises")


def test_one_service_that_rises_is_told_though_the_sum_does_not() -> None:
    samples = run()
    for sample in samples:
        sample.memory = {"ingest": int(2e8 + sample.seconds * 10_000), "resolver": int(4e8 - sample.seconds * 10_000)}
    assert holds(samples, "memory rises")
    assert not holds(samples, "that of each") and "ingest +36.0 MB/h" in said(samples, "that of each")


def test_a_queue_is_judged_by_its_largest_moment() -> None:
    samples = run(**{"postgres__segmenter.outbox": 0.0, "postgres__identity.nodes": 300.0})
    assert holds(samples, "table that is emptied")
    samples[20].disk["postgres segmenter.outbox"] = 270_000_000
    assert holds(samples, "nothing else grows") and not holds(samples, "table that is emptied")


def test_who_falls_behind_is_told() -> None:
    samples = run()
    assert holds(samples, "falls behind")
    for sample in samples:
        sample.lag["segmenter"] = int(sample.seconds * 100)
    assert not holds(samples, "falls behind")


def test_what_takes_more_for_each_event_than_before_is_told() -> None:
    samples = run(**{"clickhouse__cdp.events": 100.0})
    assert holds(samples, "has to grow")
    for sample in samples:
        sample.disk["clickhouse cdp.events"] = int(sample.seconds**2 * 1000)
    assert not holds(samples, "has to grow")


def test_the_history_has_a_line_a_minute_and_a_column_for_each_kind() -> None:
    samples = run(**{"kafka__events-received": 300.0, "postgres__segmenter.outbox": 0.0, "logs/__all": 0.0})
    head, _, *lines = by_minute([*samples, *run()[:1]]).strip().splitlines()
    assert "kafka, growing" in head and "postgres, still" in head and "other files" in head
    assert len(lines) == 61 and lines[60].startswith("| 60 | 3,600,000 | 0 | 100 | 0 | 1,081 |")


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
