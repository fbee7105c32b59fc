"""One poll's records of three topics -> everything a flush will write, decided before anything is written."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

from cdp_eventlog.log import Partition, Record
from cdp_identity.recording.blocks import Block, Reading, event_blocks, read_events
from cdp_identity.recording.profiles import (
    MOVES,
    UPDATES,
    Moves,
    Updates,
    newest_moves,
    newest_updates,
    read_messages,
)
from cdp_identity.recording.protocol import Claim, Intent, advanced, intent_for
from cdp_schemas.profiles import NodeMoved, ProfileUpdated
from cdp_schemas.topics import EVENTS_IDENTIFIED, PROFILES_MERGED, PROFILES_UPDATED

Batch = Mapping[Partition, Sequence[Record]]


@dataclass(slots=True)
class Draft:
    """What one flush writes. ``claims`` are the claims as they will be when all of it is durable.

    ``deleted`` profiles and ``erased`` nodes have rows to remove, whatever was said of them afterwards.
    """

    claims: dict[Partition, Claim] = field(default_factory=dict)
    intents: list[Intent] = field(default_factory=list)
    blocks: list[Block] = field(default_factory=list)
    readings: list[Reading] = field(default_factory=list)
    updates: Updates = field(default_factory=dict)
    moves: Moves = field(default_factory=dict)
    deleted: list[ProfileUpdated] = field(default_factory=list)
    erased: list[NodeMoved] = field(default_factory=list)
    records: int = 0
    unreadable: int = 0


def draft(batch: Batch, claims: Mapping[Partition, Claim]) -> Draft:
    """The flush of a batch whose partitions are all claimed."""
    result = Draft(records=sum(map(len, batch.values())))
    events = sorted(partition for partition in batch if partition.topic == EVENTS_IDENTIFIED)
    intents = [intent_for(claims[one], [record.offset for record in batch[one]]) for one in events]
    add_events(result, claims, intents, batch)
    _add_profiles(result, batch, claims)
    return result


def add_events(result: Draft, claims: Mapping[Partition, Claim], intents: Sequence[Intent], batch: Batch) -> None:
    """The ranges of events of one flush: their blocks, and the claims that follow of those partitions that are ours."""
    for intent in intents:
        reading = read_events(batch[intent.partition], intent.from_received)
        result.readings.append(reading)
        result.unreadable += reading.unreadable
        if (claim := claims.get(intent.partition)) is not None:
            result.claims[intent.partition] = advanced(claim, intent.last, reading.next_received)
    result.intents.extend(intents)
    result.blocks.extend(event_blocks(result.readings, intents))


def _add_profiles(result: Draft, batch: Batch, claims: Mapping[Partition, Claim]) -> None:
    updated = {partition: batch[partition] for partition in batch if partition.topic == PROFILES_UPDATED}
    moved = {partition: batch[partition] for partition in batch if partition.topic == PROFILES_MERGED}
    updates, broken_updates = read_messages((one for records in updated.values() for one in records), UPDATES)
    moves, broken_moves = read_messages((one for records in moved.values() for one in records), MOVES)
    result.updates, result.moves = newest_updates(updates), newest_moves(moves)
    # of all that was told: who comes back within the same flush was erased nevertheless
    result.deleted = [update for update in updates if update.deleted]
    result.erased = [move for move in moves if move.reason == "erased"]
    result.unreadable += broken_updates + broken_moves
    for partition, records in {**updated, **moved}.items():
        result.claims[partition] = advanced(claims[partition], records[-1].offset)
