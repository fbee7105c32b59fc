"""Moments and calls of a first load -> how near it came to the destination's limit, and to the fewest calls."""

from types import SimpleNamespace
from typing import Any

import pytest
from bench import audience
from bench.audience import LIMIT, MEMBERS, P19, P19_CALLS, PER_CALL, FirstLoad

FEWEST = MEMBERS // PER_CALL


def measured(monkeypatch: pytest.MonkeyPatch, load: FirstLoad) -> tuple[Any, Any]:
    """The judged rows of such a load."""
    monkeypatch.setattr(audience, "_segment", lambda _: "segment")
    monkeypatch.setattr(audience, "_first_load", lambda *_: load)
    whole: Any = SimpleNamespace(first=lambda _: False, rest=lambda: None, pids=[])
    pace, calls = audience.loaded(whole)
    return P19.judged(pace), P19_CALLS.judged(calls)


def test_the_limit_cannot_be_passed_by_calls_that_were_saved_up(monkeypatch: pytest.MonkeyPatch) -> None:
    """A rested destination takes a second's calls at once: with them the last call goes a second before the limit."""
    pace, calls = measured(monkeypatch, FirstLoad(100.0, 100.0, 100.0 + MEMBERS / LIMIT - 1, FEWEST))
    assert pace.ratio == pytest.approx(1) and calls.ratio == 1
    assert pace.met and calls.met


def test_time_until_the_first_call_counts(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, _ = measured(monkeypatch, FirstLoad(100.0, 105.0, 105.0 + MEMBERS / LIMIT - 1, FEWEST))
    assert not pace.met and pace.floor_met


def test_small_calls_miss_the_goal_however_fast_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    pace, calls = measured(monkeypatch, FirstLoad(100.0, 100.0, 100.0 + MEMBERS / LIMIT - 1, FEWEST * 5 // 4))
    assert pace.met and not calls.floor_met
