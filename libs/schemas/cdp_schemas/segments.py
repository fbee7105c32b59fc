"""The messages about segment memberships."""

from collections.abc import Container, Iterator
from datetime import datetime
from typing import Final, Literal
from uuid import UUID

from msgspec import Struct

from cdp_schemas.codec import Codec, InvalidMessage

Change = Literal["entered", "exited"]
Cause = Literal["event", "clock", "definition", "merge", "erased", "manual"]


class SegmentChange(Struct, rename="camel", frozen=True, gc=False):
    """What happened to a profile in one segment.

    ``sequence`` counts the changes of this membership from 1: odd is entered, even is exited, so a reader sees gaps
    and repeats.
    """

    segment_id: str
    segment_version: int
    change: Change
    sequence: int


class MembershipsChanged(Struct, rename="camel", frozen=True):
    """A profile entered or exited segments, on ``memberships-changed``. Key: workspace and profile.

    ``received_at`` is the oldest event behind the changes, None when the clock or a definition caused them.
    """

    workspace_id: str
    profile_id: UUID
    at: datetime
    changes: list[SegmentChange]
    cause: Cause = "event"
    received_at: datetime | None = None

    def each(self, segments: Container[str] | None = None) -> "Iterator[MembershipChanged]":
        """The changes one by one, or those of some segments."""
        for one in self.changes:
            if segments is None or one.segment_id in segments:
                yield MembershipChanged(
                    self.workspace_id,
                    one.segment_id,
                    one.segment_version,
                    self.profile_id,
                    one.change,
                    one.sequence,
                    self.at,
                    self.cause,
                    self.received_at,
                )


class MembershipChanged(Struct, rename="camel", frozen=True, gc=False):
    """One change of a ``MembershipsChanged``; version 1 of the topic had a message for each, keyed by segment too."""

    workspace_id: str
    segment_id: str
    segment_version: int
    profile_id: UUID
    change: Change
    sequence: int
    at: datetime
    cause: Cause = "event"
    received_at: datetime | None = None

    def alone(self) -> MembershipsChanged:
        """The same as a message of its own."""
        change = SegmentChange(self.segment_id, self.segment_version, self.change, self.sequence)
        return MembershipsChanged(self.workspace_id, self.profile_id, self.at, [change], self.cause, self.received_at)


_codec: Final = Codec(MembershipsChanged)
_earlier: Final = Codec(MembershipChanged)


def read_memberships(value: bytes) -> MembershipsChanged:
    """A message of ``memberships-changed`` in any of its versions. Raises InvalidMessage."""
    try:
        return _codec.decode(value)
    except InvalidMessage as reason:
        try:
            return _earlier.decode(value).alone()
        except InvalidMessage:
            raise reason from None
