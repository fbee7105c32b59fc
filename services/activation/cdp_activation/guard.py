"""Counts of an audience -> whether its removals look like an accident. Pure."""

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class GuardPolicy:
    """``share`` of an audience of at least ``large`` members, or all of one of at least ``some``, may not just go."""

    share: float = 0.3
    large: int = 100
    some: int = 10


@dataclass(frozen=True, slots=True)
class AudienceCounts:
    """Of one audience at one destination: members there now, removals waiting, removals made in the last minutes,
    and how many the segments now want. Removals for privacy's sake or by request are not among them."""

    there: int
    leaving: int
    left: int
    wanted: int


def alarm(counts: AudienceCounts, policy: GuardPolicy) -> str | None:
    """Why sending should stop and somebody be asked; None when nothing is unusual."""
    before = counts.there + counts.left
    going = counts.leaving + counts.left
    if counts.leaving == 0:
        return None
    if counts.wanted == 0 and before >= policy.some:
        return f"the segments have no members any more, which would empty an audience of {before}"
    if before >= policy.large and going > before * policy.share:
        return f"{going} of {before} members would be removed, more than {policy.share:.0%}"
    return None
