"""The storm kills whoever has worked, as often as was asked, and a part now and then."""

from collections import Counter
from random import Random
from typing import Any

import pytest
from faults import storm
from faults.stack import ALL
from faults.trial import Trial

from cdp_devstack.parts import Part


class Parts:
    """Remembers which parts died and came back."""

    def __init__(self) -> None:
        self.said: list[str] = []

    def kill(self, part: Part) -> None:
        self.said.append(f"kill {part}")

    def restart(self, part: Part) -> None:
        self.said.append(f"restart {part}")


class Stack:
    """Processes that work from their third look on, except the one that never does."""

    def __init__(self, idle: str = "") -> None:
        self.parts, self.idle = Parts(), idle
        self.looks, self.killed, self.running = Counter[str](), list[str](), set[str]()

    def is_running(self, name: str) -> bool:
        return name in self.running

    def start(self, name: str) -> None:
        self.running.add(name)
        self.looks[name] = 0

    def kill(self, name: str) -> None:
        assert self.looks[name] > 2, f"{name} was killed before it had worked"
        self.running.discard(name)
        self.killed.append(name)

    def metric(self, name: str, metric: str) -> float:
        self.looks[name] += name != self.idle
        return float(self.looks[name] > 2)

    def is_ready(self, name: str) -> bool:
        return self.metric(name, "") > 0


def burst(stack: Any, kills: int) -> Trial:
    trial = Trial(stack, proof=None, chance=Random(1))  # type: ignore[arg-type]
    storm._Burst(trial, Counter(), {}).until(kills)
    return trial


def test_so_many_are_killed_and_all_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(storm, "_PART_SHARE", 0.3)
    stack = Stack()
    trial = burst(stack, 40)
    parts = [said for said in stack.parts.said if said.startswith("kill")]
    assert 40 <= trial.kills == len(stack.killed) + len(parts) <= 41
    assert set(stack.killed) == set(ALL)
    assert parts
    assert len(stack.parts.said) == 2 * len(parts)


def test_who_does_nothing_is_not_waited_for() -> None:
    stack = Stack(idle="segmenter")
    burst(stack, 12)
    assert "segmenter" not in stack.killed
