"""ProfileUpdated and NodeMoved messages -> the newest row of each profile and node, as blocks."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any, Final, TypeVar
from uuid import UUID

from cdp_eventlog.log import Record
from cdp_identity.recording.blocks import Block, milliseconds
from cdp_schemas.codec import Codec, InvalidMessage, encode
from cdp_schemas.profiles import NodeMoved, ProfileUpdated
from cdp_schemas.tables import PROFILE_ALIASES, PROFILES

UPDATES: Final = Codec(ProfileUpdated)
MOVES: Final = Codec(NodeMoved)
Message = TypeVar("Message", ProfileUpdated, NodeMoved)
Updates = dict[tuple[str, UUID], ProfileUpdated]
Moves = dict[tuple[str, UUID], NodeMoved]


def read_messages(records: Iterable[Record], codec: Codec[Message]) -> tuple[list[Message], int]:
    """The messages in order, and how many records were unreadable."""
    messages: list[Message] = []
    unreadable = 0
    for record in records:
        try:
            messages.append(codec.decode(record.value))
        except InvalidMessage:
            unreadable += bool(record.value)  # an empty value is the tombstone of a compacted topic
    return messages, unreadable


def newest_updates(updates: Iterable[ProfileUpdated]) -> Updates:
    """The update with the highest version of each profile."""
    return {(one.workspace_id, one.profile_id): one for one in sorted(updates, key=lambda one: one.version)}


def newest_moves(moves: Iterable[NodeMoved]) -> Moves:
    """The move with the highest version of each node."""
    return {(one.workspace_id, one.node_id): one for one in sorted(moves, key=lambda one: one.version)}


def profile_block(updates: Sequence[ProfileUpdated]) -> Block:
    """One row per update; a deleted profile keeps only its key and version."""
    columns: list[Sequence[Any]] = [
        [update.workspace_id for update in updates],
        [update.profile_id for update in updates],
        [update.version for update in updates],
        [int(update.deleted) for update in updates],
        [_ticks(update.created_at) for update in updates],
        [milliseconds(update.updated_at) for update in updates],
        [_ticks(update.first_seen) for update in updates],
        [_ticks(update.last_seen) for update in updates],
        [update.identifiers for update in updates],
        [encode(update.traits).decode() for update in updates],
        [update.consent for update in updates],
        [update.revenue.currency for update in updates],
        [update.revenue.ltv_minor for update in updates],
        [update.revenue.refunded_minor for update in updates],
        [update.revenue.order_count for update in updates],
        [_nullable(update.revenue.first_order_at) for update in updates],
        [_nullable(update.revenue.last_order_at) for update in updates],
    ]
    return Block(PROFILES.name, PROFILES.columns, columns)


def alias_block(moves: Sequence[NodeMoved]) -> Block:
    """One row per moved node. A node that came back to itself has a row too: it hides the older one."""
    columns: list[Sequence[Any]] = [
        [move.workspace_id for move in moves],
        [move.node_id for move in moves],
        [move.profile_id for move in moves],
        [move.version for move in moves],
    ]
    return Block(PROFILE_ALIASES.name, PROFILE_ALIASES.columns, columns)


def _ticks(at: datetime | None) -> int:
    return 0 if at is None else milliseconds(at)


def _nullable(at: datetime | None) -> int | None:
    return None if at is None else milliseconds(at)
