"""The messages about events: what the gateway accepted, what it refused, and what identity added."""

from datetime import datetime
from typing import Literal
from uuid import UUID

from msgspec import Raw, Struct

Call = Literal["track", "identify", "page", "screen", "group", "alias", "consent", "delete"]
Channel = Literal["client", "server", "api", "import"]
ClockVerdict = Literal["trusted", "corrected", "clamped"]
Outcome = Literal["stored", "duplicate", "quarantined", "suppressed"]
EMPTY_OBJECT = Raw(b"{}")


class ReceivedEvent(Struct, rename="camel", frozen=True, gc=False):
    """One accepted call, on ``events-received``. Key: ``<workspaceId>|<userId or anonymousId or ...>``.

    ``properties``, ``traits``, ``context`` and ``integrations`` are the client's own bytes, passed through: they are
    valid JSON objects without NUL characters, lone surrogates, non-finite or over-long numbers, nested at most 32 deep.
    ``consent`` and ``delete`` are calls that only the front door makes (properties: purpose -> bool; none).
    """

    workspace_id: str
    source_id: str
    message_id: str
    type: Call
    received_at: datetime
    timestamp: datetime
    channel: Channel = "client"
    clock: ClockVerdict = "trusted"
    original_timestamp: datetime | None = None
    sent_at: datetime | None = None
    event: str | None = None
    user_id: str | None = None
    anonymous_id: str | None = None
    previous_id: str | None = None
    group_id: str | None = None
    profile_id: str | None = None
    device_id: str | None = None
    session_id: str | None = None
    properties: Raw = EMPTY_OBJECT
    traits: Raw = EMPTY_OBJECT
    context: Raw = EMPTY_OBJECT
    integrations: Raw = EMPTY_OBJECT


class IdentifiedEvent(ReceivedEvent, rename="camel", frozen=True, gc=False, kw_only=True):
    """A received event with the node it arrived at, on ``events-identified`` (same partition number as received).

    ``received_partition`` and ``received_offset`` are its place in ``events-received``: they rise strictly within a
    partition, but after a crash of the resolver a range may be repeated; a reader skips what it has seen.
    Only events with outcome ``stored`` reach the event store; the others are counted.
    """

    node_id: UUID
    received_partition: int
    received_offset: int
    outcome: Outcome = "stored"


class RefusedEvent(Struct, rename="camel", frozen=True, gc=False, omit_defaults=True):
    """An event that cannot be taken as it is, on ``events-received-dlq``, to be read, fixed and replayed."""

    workspace_id: str
    source_id: str
    stage: Literal["ingest", "identity"]
    reason: str
    detail: str
    received_at: datetime
    raw: bytes
    path: str = ""
    message_id: str | None = None
    received_partition: int | None = None
    received_offset: int | None = None


def routing_key(workspace_id: str, candidate: str) -> bytes:
    """The Kafka key that keeps one person's events in order: workspace, then the best identifier at hand."""
    return f"{workspace_id}|{candidate}".encode()
