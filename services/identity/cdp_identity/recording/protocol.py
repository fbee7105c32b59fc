"""Offsets, claims and open intents -> what to write, what to skip, what to write again: the recorder's decisions."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from enum import Enum

from cdp_eventlog.log import Partition


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
    same repeats; ``records`` is how many records it had.
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
    MISSING = "missing"  # only the rows that are not there, under a new generation
    DONE = "done"  # all rows are there, and the token may be forgotten: touch nothing


@dataclass(frozen=True, slots=True)
class Presence:
    """What the store shows of a block: which of its received offsets, and how many blocks came after them."""

    offsets: frozenset[int]
    blocks_since: int


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


def lacking(received: Sequence[int], expected: Collection[int], presence: Presence) -> list[int]:
    """Positions of a block's rows that should be in the store and are not."""
    wanted = set(expected) - presence.offsets
    return [position for position, offset in enumerate(received) if offset in wanted]


def intent_for(claim: Claim, offsets: Sequence[int]) -> Intent:
    """The intent of inserting the records with these offsets, the next ones of the claim's partition."""
    return Intent(claim.partition, offsets[0], offsets[-1], len(offsets), claim.next_received_offset, claim.generation)


def advanced(claim: Claim, last: int, next_received: int | None = None) -> Claim:
    """The claim after everything up to ``last`` is durable."""
    received = claim.next_received_offset if next_received is None else next_received
    return replace(claim, next_offset=max(claim.next_offset, last + 1), next_received_offset=received)


def token(table: str, intent: Intent, month: int | None = None) -> str:
    """The deduplication token of a block: the same range of the same generation always has the same one."""
    topic, number = intent.partition
    name = f"{table}:{topic}:{number}:{intent.first}-{intent.last}:g{intent.generation}"
    return name if month is None else f"{name}:{month}"


def verdict(expected: Collection[int], presence: Presence, window: int) -> Verdict:
    """What an interrupted block needs, given the received offsets it should have.

    While its token is remembered (``window`` blocks) sending it again is always right, and also fills a view that
    missed it. Beyond that the offsets decide alone.
    """
    there = len(presence.offsets.intersection(expected))
    if there == len(expected):
        return Verdict.AGAIN if presence.offsets and presence.blocks_since < window else Verdict.DONE
    return Verdict.MISSING if there else Verdict.AGAIN
