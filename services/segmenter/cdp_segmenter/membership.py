"""Who was a member and who is one now -> the changes to record and to tell, strictly alternating."""

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import datetime
from itertools import groupby
from typing import Final, NamedTuple
from uuid import UUID

from cdp_schemas.events import routing_key
from cdp_schemas.segments import Cause, Change, MembershipsChanged, SegmentChange

_PER_MESSAGE: Final = 1000  # changes, about a hundred kilobytes
_OTHER: Final[tuple[Change, Change]] = ("entered", "exited")  # what happens to one that is not, or is a member


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
) -> list[MembershipsChanged]:
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
) -> list[MembershipsChanged]:
    """Each place goes to its other state; beside it is the sequence that it had, 0 for none.

    A profile's are side by side: then they are written and told together.
    """
    found: list[MembershipsChanged] = []
    for profile_id, some in groupby(places, _profile):
        turned = [
            SegmentChange(place.segment_id, versions[place.segment_id], _OTHER[is_member(sequence)], sequence + 1)
            for place, sequence in some
        ]
        found += [
            MembershipsChanged(
                workspace_id,
                profile_id,
                reason.at,
                turned[start : start + _PER_MESSAGE],
                reason.cause,
                reason.received_at,
            )
            for start in range(0, len(turned), _PER_MESSAGE)
        ]
    return found


def keyed(messages: Iterable[MembershipsChanged]) -> Iterator[tuple[bytes, MembershipsChanged]]:
    """Messages with the keys that keep those of one profile in order."""
    return ((routing_key(one.workspace_id, str(one.profile_id)), one) for one in messages)


def count(messages: Iterable[MembershipsChanged]) -> int:
    """How many memberships changed."""
    return sum(len(one.changes) for one in messages)


def _profile(found: tuple[Place, int]) -> UUID:
    return found[0].profile_id


def _by_profile(found: tuple[Place, int]) -> tuple[int, str]:
    (segment_id, profile_id), _ = found
    return profile_id.int, segment_id
