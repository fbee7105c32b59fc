"""Chosen faults and a seed -> runs on one stack, a line in the ledger each, and a smaller run for what failed."""

import random
import time
import traceback
from collections.abc import Callable, Sequence
from contextlib import nullcontext
from dataclasses import dataclass, field

from cdp_devstack.errors import StackError
from faults import ledger
from faults.ledger import Line
from faults.proof import Proof, Verdict
from faults.stack import NotInTime, Stack
from faults.trial import Effort, NotHere, Scenario, Trial

Say = Callable[[str], None]
SMALLER = (Effort(0.5, 0.5), Effort(0.5, 0.25), Effort(0.25, 0.1))


@dataclass
class Outcome:
    """One run: its line in the ledger, and every violation in a sentence."""

    line: Line
    violations: list[str]
    notes: list[str] = field(default_factory=list)


class Runner:
    """Runs scenarios one after another; the stack lives on between them."""

    def __init__(self, stack: Callable[[], Stack], say: Say, keep: Callable[[Line], None] = ledger.append) -> None:
        """``stack`` gives the one that all scenarios share which make none of their own."""
        self._stack, self._say, self._keep, self._runs = stack, say, keep, 0

    def run(self, scenario: Scenario, seed: int, effort: Effort = Effort()) -> Outcome:  # noqa: B008 - frozen
        """Plays it, ends all trouble, waits until everything is ready and compares. It never raises for the fault.

        Raises NotHere when this machine lacks what the fault needs.
        """
        self._runs += 1
        # a seed that is run twice on one stack must not meet its own events
        prefix = f"{scenario.number.lower()}x{seed}x{self._runs}"
        with nullcontext(self._stack()) if scenario.on is None else scenario.on() as stack:
            proof = Proof(stack, stack.journal(prefix), prefix, seed)
            trial = Trial(stack, proof, random.Random(f"{seed}-{scenario.number}"), effort)
            return self._played(scenario, trial, seed)

    def _played(self, scenario: Scenario, trial: Trial, seed: int) -> Outcome:
        began, stack, verdict = time.monotonic(), trial.stack, Verdict()
        try:
            stack.need(*scenario.needs)
            scenario.play(trial)
        except NotHere:
            trial.proof.close()
            raise
        except Exception as error:  # whatever ended the scenario, the stack is needed for the next one
            trial.broken.append(f"{type(error).__name__}: {error} ({_where(error)})")
        try:
            stack.recover(scenario.needs)
            verdict = trial.proof.verdict(whole=trial.whole, erased=trial.erased)
        except (NotInTime, StackError, OSError) as error:
            trial.broken.append(f"no recovery: {error}")
        finally:
            trial.proof.close()
        trial.broken += stack.leaks(trial.erased)
        violations = [*trial.broken, *verdict.violations]
        if violations:
            trial.notes.append(f"journal and logs: {stack.keep()}")
        sums = (verdict.events, trial.kills, verdict.lost, verdict.duplicated, verdict.ltv_error, len(violations))
        line = Line(scenario.number, seed, *sums, round(time.monotonic() - began, 1))
        self._keep(line)
        return Outcome(line, violations, trial.notes)

    def minimise(self, scenario: Scenario, seed: int) -> Effort:
        """The smallest effort that still shows a violation; the full one when no smaller does."""
        found = Effort()
        for effort in SMALLER:
            self._say(f"  again with load {effort.load} and steps {effort.steps}")
            if not self.run(scenario, seed, effort).violations:
                break
            found = effort
        return found


def run_all(
    stack: Callable[[], Stack], chosen: Sequence[Scenario], seed: int, say: Say, minutes: float, effort: Effort
) -> list[Outcome]:
    """Each once, in order, until the time is up; what is left out is said."""
    runner, end, outcomes = Runner(stack, say), time.monotonic() + 60 * minutes, []
    for at, scenario in enumerate(chosen):
        if time.monotonic() > end:
            say(f"time is up: not run {', '.join(left.number for left in chosen[at:])}")
            break
        say(f"{scenario.number} {scenario.title}")
        try:
            outcome = runner.run(scenario, seed, effort)
        except NotHere as missing:
            say(f"  not run here: {missing}")
            continue
        outcomes.append(outcome)
        for sentence in [*outcome.notes, *outcome.violations]:
            say(f"  {sentence}")
        say(f"  {outcome.line.events} events, {outcome.line.kills} kills, {outcome.line.seconds} s")
        if outcome.violations and effort == Effort(seconds=effort.seconds) and time.monotonic() < end:
            least = runner.minimise(scenario, seed)
            shown = f"--load {least.load} --steps {least.steps}"
            say(f"  to see it again: python -m faults {scenario.number} --seed {seed} {shown}")
    return outcomes


def _where(error: BaseException) -> str:
    last = [frame for frame in traceback.extract_tb(error.__traceback__) if "faults" in frame.filename]
    return f"line {last[-1].lineno} of {last[-1].name}" if last else "outside the scenario"
