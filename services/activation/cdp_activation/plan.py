"""Ledger rows x profiles x gates -> what to remove, what to add, what to leave: removes first. Pure."""

from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Literal
from uuid import UUID

from cdp_activation.destinations.destination import Cells
from cdp_activation.profile import Profile

Reason = Literal["suppressed", "no_consent", "unmatched", "profile_pending"]


@dataclass(frozen=True, slots=True)
class Entry:
    """One member of one audience at one destination, as the ledger has it.

    ``sent`` are all the forms that may be there now; ``acknowledged`` says that the destination confirmed the last of
    them. ``min_version`` is the oldest version of the profile that may be sent.
    """

    profile_id: UUID
    sequence: int
    desired: bool
    acknowledged: bool
    sent: Sequence[Cells] = ()
    min_version: int = 0


@dataclass(frozen=True, slots=True)
class Gates:
    """What must be true at the moment of sending. ``unknown_is_granted`` is for purposes never asked about."""

    purposes: Sequence[str] = ()
    unknown_is_granted: bool = False
    suppressed: frozenset[UUID] = frozenset()

    def granted(self, profile: Profile) -> bool:
        return all(profile.consent.get(purpose, self.unknown_is_granted) for purpose in self.purposes)


@dataclass(frozen=True, slots=True)
class Removal:
    """Forms to take off the destination; ``then`` is what to add once they are gone, None for nothing."""

    entry: Entry
    cells: Sequence[Cells]
    then: Cells | None = None
    reason: Reason | None = None


@dataclass(frozen=True, slots=True)
class Addition:
    entry: Entry
    cells: Cells


@dataclass(frozen=True, slots=True)
class Settled:
    """Nothing to send: the destination already is as it should be, or the member may not be sent."""

    entry: Entry
    present: bool
    reason: Reason | None = None


@dataclass(slots=True)
class Plan:
    """The work of one round. ``held`` counts by reason who is desired and may not be sent."""

    removals: list[Removal] = field(default_factory=list)
    additions: list[Addition] = field(default_factory=list)
    settled: list[Settled] = field(default_factory=list)
    waiting: list[Entry] = field(default_factory=list)
    held: Counter[Reason] = field(default_factory=Counter)


Render = Callable[[Profile], Cells | None]
MatchValues = Callable[[Cells], Sequence[str]]


def plan(
    entries: Sequence[Entry], profiles: Mapping[UUID, Profile], gates: Gates, render: Render, match_values: MatchValues
) -> Plan:
    """Removal never asks the gates: whoever may not be sent, and is there, is taken off."""
    made = Plan()
    for entry in entries:
        if entry.desired:
            _wanted(made, entry, profiles.get(entry.profile_id), gates, (render, match_values))
        else:
            _unwanted(made, entry, None)
    return made


def _wanted(made: Plan, entry: Entry, profile: Profile | None, gates: Gates, form: tuple[Render, MatchValues]) -> None:
    if entry.profile_id in gates.suppressed:
        made.held["suppressed"] += 1
        _unwanted(made, entry, "suppressed")
        return
    if profile is None or profile.version < entry.min_version:
        # the column store is behind the message that changed the profile: what it shows must not be sent
        made.held["profile_pending"] += 1
        made.waiting.append(entry)
        return
    render, match_values = form
    granted = gates.granted(profile)
    cells = render(profile) if granted else None
    if cells is None:
        reason: Reason = "unmatched" if granted else "no_consent"
        made.held[reason] += 1
        _unwanted(made, entry, reason)
        return
    _to_be_there(made, entry, cells, match_values)


def _unwanted(made: Plan, entry: Entry, reason: Reason | None) -> None:
    if entry.sent:
        made.removals.append(Removal(entry, entry.sent, reason=reason))
    else:
        made.settled.append(Settled(entry, present=False, reason=reason))


def _to_be_there(made: Plan, entry: Entry, cells: Cells, match_values: MatchValues) -> None:
    if entry.acknowledged and list(entry.sent) == [cells]:
        made.settled.append(Settled(entry, present=True))
        return
    kept = set(match_values(cells))
    # a form whose every matching value stays is overwritten by adding; any other would stay behind as a stranger
    stale = [old for old in entry.sent if not set(match_values(old)) <= kept]
    if stale:
        made.removals.append(Removal(entry, stale, then=cells))
    else:
        made.additions.append(Addition(entry, cells))
