"""kill -9 of random processes and parts as fast as they come back, under load; in the pauses the whole is proved."""

import threading
import time
from collections import Counter
from dataclasses import dataclass, field
from statistics import median

import httpx

from cdp_devstack.parts import Part
from faults.scenarios.destinations import SPENT, make_audience
from faults.scenarios.tenants import delivering
from faults.stack import ALL, PLATFORMS
from faults.trial import Scenario, Trial

NUMBER = "storm"
_BURST = 75  # kills between two proofs
_PART_SHARE = 0.04  # of the kills are followed by that of a part, which takes longest to come back
_IDLE_SECONDS = 6.0  # whoever did not come to work for so long is killed all the same
_NEEDS = (*ALL, PLATFORMS)
# what a process has done when it is worth killing; the others are ready or not
_WORK = {
    "ingest": "cdp_ingest_events_accepted_total",
    "resolver": "cdp_resolver_batch_seconds_count",
    "recorder": "cdp_recorder_flush_seconds_count",
    "segmenter": "cdp_segmenter_profiles_evaluated_total",
}


def storm(kills: int) -> Scenario:
    """A scenario of so many kills."""
    return Scenario(NUMBER, f"{kills} kills of processes and parts as fast as they come back", _NEEDS, _Storm(kills))


@dataclass
class _Storm:
    kills: int

    def __call__(self, trial: Trial) -> None:
        trial.whole = True
        make_audience(trial, SPENT)
        with delivering(trial):
            self._storm(trial)

    def _storm(self, trial: Trial) -> None:
        killed, lives, seconds = Counter[str](), dict[str, list[float]](), 0.0
        while trial.kills < self.kills and not trial.broken:
            with trial.load(people=300):
                began = time.monotonic()
                _Burst(trial, killed, lives).until(min(trial.kills + _BURST, self.kills))
                seconds += time.monotonic() - began
            trial.stack.recover(_NEEDS)
            if trial.kills < self.kills:  # the last proof is that of every scenario
                trial.broken += trial.proof.verdict(whole=True).violations
        trial.notes.append("killed " + ", ".join(f"{name} {count}" for name, count in sorted(killed.items())))
        trial.notes.append(f"{trial.kills / seconds:.1f} kills a second between the proofs")
        back = (f"{name} {median(lasted):.1f}" for name, lasted in sorted(lives.items()))
        trial.notes.append("seconds from birth to work, median: " + ", ".join(back))


@dataclass
class _Burst:
    """Kills of one stretch of load. ``due``: when whoever has worked since its birth dies.

    ``lives``: seconds from each birth to the first work.
    """

    trial: Trial
    killed: Counter[str]
    lives: dict[str, list[float]]
    born: dict[str, float] = field(default_factory=dict)
    due: dict[str, float] = field(default_factory=dict)
    mending: threading.Thread | None = None

    def until(self, kills: int) -> None:
        self.born = dict.fromkeys(ALL, time.monotonic())
        while self.trial.kills < kills:
            for name in ALL:
                if self.trial.kills < kills:
                    self._look_at(name)
            time.sleep(0.05)
        if self.mending is not None:
            self.mending.join()

    def _look_at(self, name: str) -> None:
        stack, now = self.trial.stack, time.monotonic()
        if not stack.is_running(name):
            stack.start(name)
            self._is_born(name)
        elif name in self.due:
            if now >= self.due[name]:
                self._kill(name)
        elif self._has_worked(name):
            self.lives.setdefault(name, []).append(now - self.born[name])
            self._condemn(name)
        elif now > self.born[name] + _IDLE_SECONDS:
            self._condemn(name)

    def _condemn(self, name: str) -> None:
        self.due[name] = time.monotonic() + self.trial.chance.uniform(0.0, 0.5)

    def _kill(self, name: str) -> None:
        stack, chance = self.trial.stack, self.trial.chance
        stack.kill(name)
        self.trial.kills += 1
        self.killed[name] += 1
        stack.start(name)
        self._is_born(name)
        if chance.random() < _PART_SHARE:
            self._kill_a_part()

    def _is_born(self, name: str) -> None:
        self.born[name] = time.monotonic()
        self.due.pop(name, None)

    def _has_worked(self, name: str) -> bool:
        try:
            if name in _WORK:
                return self.trial.stack.metric(name, _WORK[name]) > 0
            return self.trial.stack.is_ready(name)
        except httpx.HTTPError:
            return False

    def _kill_a_part(self) -> None:
        """One at a time; the processes go on dying while it comes back."""
        if self.mending is not None and self.mending.is_alive():
            return
        part = self.trial.chance.choice(list(Part))
        self.trial.stack.parts.kill(part)
        self.trial.kills += 1
        self.killed[part.value] += 1
        self.mending = threading.Thread(target=self.trial.stack.parts.restart, args=(part,), daemon=True)
        self.mending.start()
