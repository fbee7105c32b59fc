"""What the resolver reads and writes as values: nodes, links, orders and profiles as the store keeps them."""

from datetime import datetime
from typing import Literal, NamedTuple
from uuid import UUID

from cdp_identity.graph import Link
from cdp_identity.orders import Order, Total
from cdp_schemas.profiles import Revenue

Key = tuple[str, UUID]  # workspace and node, or workspace and profile
OrderKey = tuple[str, str]  # workspace and order id
Status = Literal["h", "r", "v"]  # held, refused by a guard, revoked by a person


class NodeRow(NamedTuple):
    """A node as stored; times in µs since 1970, ``state`` as encoded by fold."""

    workspace_id: str
    node_id: UUID
    profile_id: UUID
    kind: str
    value: str
    first_seen: int
    last_seen: int | None
    erased_at: int | None
    state: bytes | None

    @property
    def is_live(self) -> bool:
        """Whether it is more than the mark of an erasure."""
        return self.kind != ""


class LinkRow(NamedTuple):
    """A link as stored, with the source of its evidence and, unless it holds, why not."""

    workspace_id: str
    link: Link
    status: Status
    source_id: str
    reason: str | None = None


class OrderRow(NamedTuple):
    """An order as stored, and what it brings: of a stored one what it brought then, as its profile counts it."""

    workspace_id: str
    order_id: str
    order: Order
    total: Total | None


class ProfileRow(NamedTuple):
    """The golden record's scalar part as stored; ``version`` 0 is a place that a new profile holds while it is made."""

    workspace_id: str
    profile_id: UUID
    version: int
    created_at: datetime
    updated_at: datetime
    first_seen: datetime | None
    last_seen: datetime | None
    traits: dict[str, object]
    consent: dict[str, bool]
    consent_at: datetime | None
    revenue: Revenue


def place(key: Key, now: datetime) -> ProfileRow:
    """A new profile's place."""
    return ProfileRow(*key, 0, now, now, None, None, {}, {}, None, Revenue())


class ConsentEntry(NamedTuple):
    """One line of the history of consent."""

    workspace_id: str
    node_id: UUID
    purpose: str
    granted: bool
    at: datetime
    message_id: str
    source_id: str


class Message(NamedTuple):
    """One message id as it was met: 128 bits of workspace and message id, when it arrived (µs), and where."""

    id: bytes
    arrived: int
    offset: int
    partition: int
