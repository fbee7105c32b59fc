"""The message about segment memberships."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Struct

Change = Literal["entered", "exited"]
Cause = Literal["event", "clock", "definition", "merge", "erased", "manual"]


class MembershipChanged(Struct, rename="camel", frozen=True, gc=False):
    """A profile entered or exited a segment, on ``memberships-changed``. Key: workspace, segment and profile.

    ``sequence`` counts the changes of this membership from 1: odd is entered, even is exited, so a reader sees gaps
    and repeats. ``received_at`` is the oldest event behind the change, None when the clock or a definition caused it.
    """

    workspace_id: str
    segment_id: str
    segment_version: int
    profile_id: UUID
    change: Change
    sequence: int
    at: datetime
    cause: Cause = "event"
    received_at: datetime | None = None
