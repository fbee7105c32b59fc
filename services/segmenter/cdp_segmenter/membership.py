"""Who was a member and who is one now -> the changes to record and to tell, strictly alternating."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from datetime import datetime
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
    entered = [place for place in now if not is_member(before.get(place, 0))]
    exited = [place for place, sequence in before.items() if is_member(sequence) and place not in now]
    return [
        MembershipChanged(
            workspace_id=workspace_id,
            segment_id=place.segment_id,
            segment_version=versions[place.segment_id],
            profile_id=place.profile_id,
            change="exited" if is_member(before.get(place, 0)) else "entered",
            sequence=before.get(place, 0) + 1,
            at=reason.at,
            cause=reason.cause,
            received_at=reason.received_at,
        )
        for place in sorted((*entered, *exited), key=_by_profile)
        if place.segment_id in versions
    ]


def _by_profile(place: Place) -> tuple[int, str]:
    """Rows of one profile lie side by side then, and are read back together."""
    return place.profile_id.int, place.segment_id


def message_key(change: MembershipChanged) -> bytes:
    """The key that keeps one membership's changes in order."""
    return f"{change.workspace_id}|{change.segment_id}|{change.profile_id}".encode()
