"""The messages about profiles: golden records, node reassignments, and what the column store now shows."""

from datetime import datetime
from typing import Any, Final, Literal
from uuid import UUID

from msgspec import Struct, field

# traits that are in an address when they have no place of their own: Segment's reserved traits keep them there, and
# profiles are shown, searched, segmented and sent so
IN_ADDRESS: Final = ("country", "city")
# what of one call is taken: so many traits, with names of so many characters
TRAITS_TAKEN: Final = 500
TRAIT_NAME: Final = 256


class Revenue(Struct, rename="camel", frozen=True):
    """What the order ledger says of one profile, in integer minor units of ``currency``.

    Orders in other currencies than the workspace's are in ``by_currency`` only (currency -> net minor units).
    """

    currency: str = "USD"
    ltv_minor: int = 0
    order_count: int = 0
    refunded_minor: int = 0
    first_order_at: datetime | None = None
    last_order_at: datetime | None = None
    by_currency: dict[str, int] = field(default_factory=dict)


class ProfileUpdated(Struct, rename="camel", frozen=True):
    """The golden record of one profile after a change, on ``profiles-updated``. Key: ``<workspaceId>|<profileId>``.

    ``version`` rises with every change of the profile; a reader keeps the highest. ``deleted`` means the profile was
    merged into ``merged_into`` or erased (then ``merged_into`` is None) and everything else is empty.
    ``received_at`` is the oldest arrival among the events that caused this change (for freshness).
    """

    workspace_id: str
    profile_id: UUID
    version: int
    updated_at: datetime
    received_at: datetime | None = None
    created_at: datetime | None = None
    first_seen: datetime | None = None
    last_seen: datetime | None = None
    identifiers: dict[str, list[str]] = field(default_factory=dict)
    traits: dict[str, Any] = field(default_factory=dict)
    consent: dict[str, bool] = field(default_factory=dict)
    consent_at: datetime | None = None
    revenue: Revenue = field(default_factory=Revenue)
    deleted: bool = False
    merged_into: UUID | None = None


class NodeMoved(Struct, rename="camel", frozen=True):
    """A node now belongs to another profile (merge or unmerge), on ``profiles-merged``. Key: workspace and node."""

    workspace_id: str
    node_id: UUID
    from_profile_id: UUID
    profile_id: UUID
    version: int
    at: datetime
    reason: Literal["merge", "unmerge", "erased"] = "merge"
    message_id: str | None = None


class ProfilesRecorded(Struct, rename="camel", frozen=True):
    """Profiles whose new facts are now readable in ClickHouse, on ``profiles-recorded``, at most 1,000 a message.

    ``gone`` are profiles that were merged away or erased, and ``merged_into`` tells of the merged where they went.
    ``received_at`` is the oldest arrival behind the change.
    """

    workspace_id: str
    profile_ids: list[UUID]
    recorded_at: datetime
    gone: list[UUID] = field(default_factory=list)
    received_at: datetime | None = None
    merged_into: dict[UUID, UUID] = field(default_factory=dict)


def profile_ref(profile_id: UUID) -> str:
    """The id that clients see: ``profile-<32 hex digits>``."""
    return f"profile-{profile_id.hex}"


def parse_profile_ref(ref: str) -> UUID | None:
    """The reverse of :func:`profile_ref`; None when it is not one."""
    prefix, _, digits = ref.partition("-")
    try:
        return UUID(digits) if prefix == "profile" and len(digits) == 32 else None
    except ValueError:
        return None
