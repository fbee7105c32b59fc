"""Offsets, claims and open intents -> what to write, what to skip, what to write again: the recorder's decisions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cdp_eventlog.log import Partition

Place = tuple[int, int]  # partition and offset in events-received


@dataclass(frozen=True, slots=True)
class Claim:
    """What the ledger says of one partition that this worker owns.

    ``next_offset`` counts in the partition's own topic, ``next_received_offset`` in ``events-received``: everything
    below has its effects in the store. ``generation`` rises when a range is written a second time on purpose.
    """

    partition: Partition
    epoch: int
    next_offset: int = 0
    next_received_offset: int = 0
    generation: int = 1


@dataclass(frozen=True, slots=True)
class Intent:
    """A range of one partition that is about to be inserted, or was, or half so: both ends inclusive.

    ``from_received`` is the claim's next_received_offset before the range, so that reading the range again cuts off the
    same repeats; ``records`` is how many records it had. The ranges of one flush go into the same blocks: whoever takes
    one of them over needs all of them to make the same blocks again.
    """

    partition: Partition
    first: int
    last: int
    records: int
    from_received: int
    generation: int


class Verdict(Enum):
    """What an interrupted block needs."""

    AGAIN = "again"  # the same rows under the same token: the store decides whether they are new
    MISSING = "missing"  # only the rows that are not there, under another token
    LOST = "lost"  # all rows, past the views that have counted them
    DONE = "done"  # all rows are there, and the token may be forgotten: touch nothing


@dataclass(frozen=True, slots=True)
class Presence:
    """What the store shows of a block: which of its places, and how many blocks came after them at most.

    The table with the most of them counts: of the block's own and of those that views fill from it. Rows that were
    rewritten have another token than the block's, which may be forgotten however new they are. ``is_viewed``: the views
    had counted it before the places were asked for.
    """

    places: frozenset[Place]
    blocks_since: int
    is_viewed: bool = False


def fresh(received_offsets: Sequence[int], next_received: int) -> tuple[list[int], int]:
    """Positions of the offsets that were not seen before, and the new next_received_offset.

    Received offsets rise strictly but for repeated ranges, so one number tells new from repeated.
    """
    positions = []
    for position, offset in enumerate(received_offsets):
        if offset >= next_received:
            positions.append(position)
            next_received = offset + 1
    return positions, next_received


def is_due(claim: Claim, offset: int) -> bool:
    """Whether a record of the claim's partition has no effects yet."""
    return offset >= claim.next_offset


def lacking(received: Sequence[Place], expected: Collection[Place], presence: Presence) -> list[int]:
    """Positions of a block's rows that should be in the store and are not."""
    wanted = set(expected) - presence.places
    return [position for position, place in enumerate(received) if place in wanted]


def intent_for(claim: Claim, offsets: Sequence[int]) -> Intent:
    """The intent of inserting the records with these offsets, the next ones of the claim's partition."""
    return Intent(claim.partition, offsets[0], offsets[-1], len(offsets), claim.next_received_offset, claim.generation)


def advanced(claim: Claim, last: int, next_received: int | None = None) -> Claim:
    """The claim after everything up to ``last`` is durable."""
    received = claim.next_received_offset if next_received is None else next_received
    return replace(claim, next_offset=max(claim.next_offset, last + 1), next_received_offset=received)


def token(table: str, intents: Sequence[Intent], month: int | None = None) -> str:
    """The deduplication token of a block: the same ranges of the same generations always have the same one."""
    ranges = ",".join(f"{one.partition.number}:{one.first}-{one.last}:g{one.generation}" for one in intents)
    name = f"{table}:{intents[0].partition.topic}:{ranges}"
    return name if month is None else f"{name}:{month}"


def verdict(expected: Collection[Place], presence: Presence, window: int) -> Verdict:
    """What an interrupted block needs, given the places it should have.

    While its token is remembered (``window`` blocks) sending it again is always right, and also fills a view that
    missed it. Beyond that the offsets decide alone. The views get rows after the table does: what they have and it has
    not is lost, and its token may be forgotten.
    """
    there = len(presence.places.intersection(expected))
    if there == len(expected):
        return Verdict.AGAIN if presence.places and presence.blocks_since < window else Verdict.DONE
    if there:
        return Verdict.MISSING
    return Verdict.LOST if presence.is_viewed else Verdict.AGAIN
