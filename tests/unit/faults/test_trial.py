"""A death counts only where it was wanted, a load only if it was there, and a trouble only if somebody felt it."""

from collections.abc import Sequence
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest
from faults import trial
from faults.proxy import Trouble
from faults.stack import NotInTime
from faults.trial import Trial


class Stack:
    """A service whose lives fare as told: it dies at its point, ends by itself, or does nothing."""

    def __init__(self, lives: Sequence[str]) -> None:
        self._lives, self.started = iter(lives), list[str]()
        self._life = ""

    def start(self, name: str, fault: str = "") -> None:
        self.started.append(fault.partition(":")[0])
        self._life = next(self._lives) if fault else "runs"

    def kill(self, name: str) -> None:
        self._life = "ends"

    def is_running(self, name: str) -> bool:
        return self._life == "runs"

    def came_to(self, name: str, point: str) -> bool:
        return self._life == "dies there"


def swept(stack: Any, monkeypatch: pytest.MonkeyPatch) -> Trial:
    monkeypatch.setattr(trial, "POINT_SECONDS", 0.5)
    found = Trial(stack, proof=None, chance=Random(1))  # type: ignore[arg-type]
    found.sweep({"recorder": ["recorder.one", "recorder.two"]})
    return found


def test_each_point_has_its_death(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(["dies there", "dies there"])
    found = swept(stack, monkeypatch)
    assert (found.kills, found.broken) == (2, [])
    assert stack.started == ["recorder.one", "recorder.two", ""]


def test_who_ends_by_itself_has_not_died_at_the_point(monkeypatch: pytest.MonkeyPatch) -> None:
    stack = Stack(["ends", "dies there", "dies there"])
    assert swept(stack, monkeypatch).kills == 2
    assert stack.started == ["recorder.one", "recorder.one", "recorder.two", ""]


@pytest.mark.parametrize("life", ["ends", "runs"])
def test_a_point_that_is_not_reached_is_a_violation(life: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whether the process goes on without it, or ends before it again and again."""
    found = swept(Stack([*[life] * 5, *["ends"] * 100]), monkeypatch)
    assert found.kills == 0
    assert [sentence.partition(" within")[0] for sentence in found.broken] == [
        "recorder did not come to recorder.one",
        "recorder did not come to recorder.two",
    ]


def test_who_had_ended_by_itself_was_not_killed() -> None:
    found = Trial(Stack([]), proof=None, chance=Random(1))  # type: ignore[arg-type]
    found.kill("recorder")
    found.kill("recorder")
    assert found.kills == 1


def test_a_trouble_that_meets_nobody_ends_the_trial(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trial, "FELT_SECONDS", 0.2)
    nowhere: Any = SimpleNamespace()
    found = Trial(nowhere, proof=nowhere, chance=Random(1))
    found.felt("the platform is cut off", Trouble(refuses=True, struck=1))
    with pytest.raises(NotInTime, match="somebody feels that the platform is cut off"):
        found.felt("the platform is cut off", Trouble(refuses=True))
