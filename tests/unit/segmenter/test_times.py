"""Instants and durations are read narrowly and exactly."""

from datetime import UTC, datetime, timedelta

import pytest

from cdp_segmenter.rules.times import duration, in_words, instant


@pytest.mark.parametrize(
    ("text", "seconds", "words"),
    [
        ("P30D", 30 * 86_400, "30 days"),
        ("PT1H", 3_600, "1 hour"),
        ("P1DT12H", 36 * 3_600, "36 hours"),
        ("P2W", 14 * 86_400, "14 days"),
        ("PT90S", 90, "90 seconds"),
        (90, 90 * 86_400, "90 days"),
        (0.5, 43_200, "12 hours"),
    ],
)
def test_durations(text: object, seconds: int, words: str) -> None:
    assert duration(text) == timedelta(seconds=seconds)
    assert in_words(duration(text)) == words


@pytest.mark.parametrize("text", ["P1M", "P1Y", "30", "P", "PT", "", None, True, "P-1D", 0, 10**9, "P9999W"])
def test_what_is_no_duration(text: object) -> None:
    with pytest.raises(ValueError):
        duration(text)


def test_instants_are_cut_to_milliseconds() -> None:
    assert instant("2026-02-01T10:00:00.1239+02:00") == datetime(2026, 2, 1, 8, 0, 0, 123_000, tzinfo=UTC)
    assert instant("2026-02-01") == datetime(2026, 2, 1, tzinfo=UTC)


@pytest.mark.parametrize("text", ["2026-02-30", "2026-2-1", "01.02.2026", "1800-01-01", "2026-02-01T25:00", "x", ""])
def test_what_is_no_instant(text: str) -> None:
    assert instant(text) is None
