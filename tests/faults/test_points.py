"""The harness in short form: deaths at the boundaries of effects, and lost replies to a COMMIT, on a real stack."""

from collections.abc import Iterator
from dataclasses import replace

import pytest
from faults.catalogue import SCENARIOS
from faults.runner import Runner
from faults.scenarios.crashes import points
from faults.scenarios.stores import lost_commit_replies
from faults.stack import Stack
from faults.trial import Effort, Trial

pytestmark = [pytest.mark.stack, pytest.mark.slow]
RECORDER = ["recorder.after-intent", "recorder.after-insert", "recorder.before-close"]


@pytest.fixture(scope="module")
def runner() -> Iterator[Runner]:
    stack = Stack()
    yield Runner(lambda: stack, lambda text: None, keep=lambda line: None)
    stack.close()


def sweep(trial: Trial) -> None:
    with trial.load():
        trial.sweep({"resolver": points("resolver")[:3], "recorder": RECORDER})


def test_a_death_at_each_boundary_loses_and_doubles_nothing(runner: Runner) -> None:
    outcome = runner.run(replace(SCENARIOS["F2"], play=sweep), seed=7)
    assert outcome.violations == []
    assert outcome.line.kills == 6
    assert outcome.line.events > 100


def test_a_lost_reply_to_a_commit_counts_nothing_twice(runner: Runner) -> None:
    scenario = replace(SCENARIOS["F8"], play=lost_commit_replies)
    outcome = runner.run(scenario, seed=7, effort=Effort(steps=0.25))
    assert outcome.violations == []
    assert len(outcome.notes) == 2, "no reply was lost"
