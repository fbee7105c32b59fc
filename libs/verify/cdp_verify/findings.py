"""What a check compared and what it found wrong; a check that could not look says why, and never counts as passed."""

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Final

KEPT: Final = 20  # violations told in full; all are counted
# what violations add up to
LOST: Final = "lost"  # I1: accepted, well-formed events that are not stored
DOUBLED: Final = "doubled"  # I1: stored rows of sent events beyond the first of each
OFF_MINOR: Final = "off"  # I5: each person's distance from the oracle, in minor units of the workspace's currency


@dataclass(slots=True)
class Finding:
    """The result of one invariant, or of one part of it.

    ``compared`` says what was looked at, with numbers. ``not_checked`` is the reason why nothing was.
    ``is_blind``: although it was asked for.
    ``sums`` are the violations in numbers: LOST, DOUBLED, OFF_MINOR -> how much; a Counter, so 0 for what is right.
    ``passed_over`` are parts that this proof cannot judge, each with the reason.
    """

    invariant: str
    meaning: str
    compared: str = ""
    not_checked: str = ""
    is_blind: bool = False
    violations: list[str] = field(default_factory=list)
    count: int = 0
    notes: list[str] = field(default_factory=list)
    sums: Counter[str] = field(default_factory=Counter)
    passed_over: list[str] = field(default_factory=list)

    def wrong(self, detail: str) -> None:
        """One violation, with enough in it to go and look."""
        self.count += 1
        if len(self.violations) < KEPT:
            self.violations.append(detail)

    def all_wrong(self, details: Iterable[str]) -> None:
        for detail in details:
            self.wrong(detail)

    @property
    def holds(self) -> bool:
        """True only for what was looked at and found right."""
        return not self.count and not self.not_checked


MEANINGS: Final = {
    "I1": "every accepted event is stored exactly once, or is a dead letter",
    "I2": "refused events never appear, unanswered ones at most once",
    "I3": "nothing appears that was not sent, and everything as it was sent",
    "I4": "what was received has exactly one outcome",
    "I5": "revenue is what an oracle makes of the journal, to the minor unit",
    "I6": "counters equal a recount, and no place in the log is stored twice",
    "I7": "profiles are the connected components of the links that hold",
    "I8": "memberships alternate, replay to the table and equal their rules",
    "I9": "destinations were told what they should hold",
    "I10": "no position runs ahead of its effects, none goes back",
    "I11": "nothing of one workspace is in another",
    "I12": "what was erased is nowhere",
    "I13": "memory stays within its bound",
    "I14": "lag is zero at rest",
    "I15": "every dead letter has reason, place and bytes",
    "I16": "every process is ready at rest",
}


def finding(invariant: str) -> Finding:
    """An empty finding of one of the invariants."""
    return Finding(invariant, MEANINGS[invariant])


def not_checked(invariant: str, reason: str) -> Finding:
    """An invariant whose data is not there."""
    return Finding(invariant, MEANINGS[invariant], not_checked=reason)


def blind(invariant: str, reason: str) -> Finding:
    """An invariant that was to be checked, and could not be looked at."""
    return Finding(invariant, MEANINGS[invariant], not_checked=reason, is_blind=True)
