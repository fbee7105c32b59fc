"""Who was a member and who is one now -> the changes to record and to tell, strictly alternating."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from operator import attrgetter
from typing import NamedTuple
from uuid import UUID

from cdp_schemas.segments import Cause, MembershipChanged


class Place(NamedTuple):
    """One profile in one segment."""

    segment_id: str
    profile_id: UUID


@dataclass(frozen=True, slots=True)
class Reason:
    """Why and when memberships are looked at again; ``received_at`` is the oldest event behind it."""

    at: datetime
    cause: Cause
    received_at: datetime | None = None


def is_member(sequence: int) -> bool:
    """Sequences count the changes from 1: odd is entered, even is exited, 0 was never inside."""
    return sequence % 2 == 1


def changes(
    before: Mapping[Place, int], after: Iterable[Place], versions: Mapping[str, int], reason: Reason, workspace_id: str
) -> list[MembershipChanged]:
    """What happened to the segments of ``versions`` between two looks at the same profiles.

    ``before`` holds the sequence of every place that ever had one, ``after`` the places of those who are members now.
    Each place changes at most once, and only to the other state, so entered and exited alternate.
    """
    now = set(after)
    found = [(place, sequence) for place, sequence in before.items() if is_member(sequence) and place not in now]
    found += [(place, sequence) for place in now if not is_member(sequence := before.get(place, 0))]
    found.sort(key=_by_profile)
    return turns((one for one in found if one[0].segment_id in versions), versions, reason, workspace_id)


def turns(
    places: Iterable[tuple[Place, int]], versions: Mapping[str, int], reason: Reason, workspace_id: str
) -> list[MembershipChanged]:
    """Each place goes to its other state; beside it is the sequence that it had, 0 for none. A profile's are best side
    by side: then they are written and told together."""
    return [
        MembershipChanged(
            workspace_id=workspace_id,
            segment_id=segment_id,
            segment_version=versions[segment_id],
            profile_id=profile_id,
            change="exited" if is_member(sequence) else "entered",
            sequence=sequence + 1,
            at=reason.at,
            cause=reason.cause,
            received_at=reason.received_at,
        )
        for (segment_id, profile_id), sequence in places
    ]


def _by_profile(found: tuple[Place, int]) -> tuple[int, str]:
    (segment_id, profile_id), _ = found
    return profile_id.int, segment_id


def keyed(changes: Iterable[MembershipChanged]) -> Iterator[tuple[bytes, MembershipChanged]]:
    """Changes with the keys that keep those of one membership in order; a profile's are best side by side."""
    for profile_id, some in groupby(changes, attrgetter("profile_id")):
        name = str(profile_id)
        for change in some:
            yield f"{change.workspace_id}|{change.segment_id}|{name}".encode(), change
