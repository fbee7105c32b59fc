"""What a committed batch decided <-> bytes beside the offset, and the messages that tell it, as often as needed."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final
from uuid import UUID

import msgspec

from cdp_eventlog.log import Outgoing, Record
from cdp_identity.batch import Item, Refusal
from cdp_identity.changes import Changes
from cdp_identity.rows import Key
from cdp_schemas.codec import Codec, InvalidMessage, encode
from cdp_schemas.events import Outcome, ReceivedEvent, RefusedEvent, routing_key
from cdp_schemas.profiles import NodeMoved, ProfileUpdated
from cdp_schemas.topics import EVENTS_IDENTIFIED, EVENTS_RECEIVED_DLQ, PROFILES_MERGED, PROFILES_UPDATED

_OUTCOMES: Final[tuple[Outcome, ...]] = ("stored", "duplicate", "quarantined", "suppressed")
_CODES: Final = {outcome: code for code, outcome in enumerate(_OUTCOMES)}
_received = Codec(ReceivedEvent)


class Decisions(msgspec.Struct, array_like=True):
    """One batch in one partition. ``events``: offset -> node and outcome. ``profiles``: golden records that changed.

    ``gone`` and ``moved`` are kept whole, for they cannot be read back from the store.
    """

    first: int
    last: int
    events: dict[int, tuple[bytes, int]] = msgspec.field(default_factory=dict)
    refusals: dict[int, Refusal] = msgspec.field(default_factory=dict)
    profiles: list[tuple[str, bytes]] = msgspec.field(default_factory=list)
    gone: list[ProfileUpdated] = msgspec.field(default_factory=list)
    moved: list[NodeMoved] = msgspec.field(default_factory=list)

    def changed(self) -> list[Key]:
        """The profiles whose golden records changed."""
        return [(workspace_id, UUID(bytes=profile)) for workspace_id, profile in self.profiles]


@dataclass(slots=True)
class Settled:
    """One committed batch: decisions per partition, its records, and the golden records that changed."""

    decisions: dict[int, Decisions] = field(default_factory=dict)
    records: Sequence[Record] = ()
    updated: list[ProfileUpdated] = field(default_factory=list)


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Decisions)


def pack(decisions: Decisions) -> bytes:
    return _encoder.encode(decisions)


def unpack(data: bytes) -> Decisions:
    return _decoder.decode(data)


def settle(items: Sequence[Item], changes: Changes) -> Settled:
    """The decisions of a batch per partition; its first partition carries what concerns profiles."""
    settled = Settled(records=[item.record for item in items], updated=changes.updated)
    for item in items:
        number, offset = item.record.partition.number, item.record.offset
        mine = settled.decisions.setdefault(number, Decisions(offset, offset))
        mine.last = max(mine.last, offset)
        mine.events[offset] = (item.node.bytes, _CODES[item.outcome])
        if item.refusal is not None:
            mine.refusals[offset] = item.refusal
    lead = settled.decisions[min(settled.decisions)]
    lead.profiles = [(record.workspace_id, record.profile_id.bytes) for record in changes.updated]
    lead.gone, lead.moved = changes.gone, changes.moved
    return settled


def messages(settled: Settled) -> list[Outgoing]:
    """Everything to publish after the commit, moves and golden records behind the events that caused them."""
    told: list[Outgoing] = []
    for record in settled.records:
        decisions = settled.decisions.get(record.partition.number)
        if decisions is not None and (decided := decisions.events.get(record.offset)) is not None:
            told += _event_messages(record, *decided, decisions.refusals.get(record.offset))
    moves = [move for decisions in settled.decisions.values() for move in decisions.moved]
    told += (Outgoing(PROFILES_MERGED, routing_key(m.workspace_id, str(m.node_id)), encode(m)) for m in moves)
    gone = [record for decisions in settled.decisions.values() for record in decisions.gone]
    told += (
        Outgoing(PROFILES_UPDATED, routing_key(r.workspace_id, str(r.profile_id)), encode(r))
        for r in (*settled.updated, *gone)
    )
    return told


def _event_messages(record: Record, node: bytes, code: int, refusal: Refusal | None) -> Iterable[Outgoing]:
    where = record.partition.number
    if refusal is not None and refusal.reason == "bad_message":
        return (_refused(record, refusal),)  # these bytes are no event, so they can be no identified one
    identified = splice(record.value, _dashed(node), where, record.offset, _OUTCOMES[code])
    told = Outgoing(EVENTS_IDENTIFIED, record.key, identified, where)
    return (told,) if refusal is None else (_refused(record, refusal), told)


# most events come from somebody who was here a moment ago
@lru_cache(maxsize=32768)
def _dashed(node: bytes) -> str:
    return str(UUID(bytes=node))


def splice(received: bytes, node: str, partition: int, offset: int, outcome: Outcome) -> bytes:
    """The received event's own bytes with what identity adds in front; nothing is decoded or encoded again."""
    added = f'{{"nodeId":"{node}","receivedPartition":{partition},"receivedOffset":{offset},"outcome":"{outcome}",'
    return added.encode() + received[received.index(b"{") + 1 :]


def _refused(record: Record, refusal: Refusal) -> Outgoing:
    workspace_id, source_id, received_at, message_id = _origin(record)
    refused = RefusedEvent(
        *(workspace_id, source_id, "identity", refusal.reason, refusal.detail, received_at, record.value),
        path=refusal.path,
        message_id=message_id,
        received_partition=record.partition.number,
        received_offset=record.offset,
    )
    return Outgoing(EVENTS_RECEIVED_DLQ, routing_key(workspace_id, source_id), encode(refused))


def _origin(record: Record) -> tuple[str, str, datetime, str | None]:
    """Workspace, source, arrival and message id, as far as the bytes still tell them."""
    try:
        event = _received.decode(record.value)
        return event.workspace_id, event.source_id, event.received_at, event.message_id
    except InvalidMessage:
        workspace_id = (record.key or b"").partition(b"|")[0].decode(errors="replace")
        return workspace_id, "", datetime.fromtimestamp(record.timestamp_ms / 1000, UTC), None


def outcomes(settled: Settled) -> Mapping[Outcome, int]:
    """Events per outcome, for the counters."""
    counts = dict.fromkeys(_OUTCOMES, 0)
    for decisions in settled.decisions.values():
        for _, code in decisions.events.values():
            counts[_OUTCOMES[code]] += 1
    return counts
