"""Positions in Postgres, ends of topics, outcomes in ClickHouse -> I10: none runs ahead of its effects or goes back."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Final

from cdp_schemas.topics import EVENTS_IDENTIFIED, EVENTS_RECEIVED
from cdp_verify.findings import Finding, finding
from cdp_verify.stores import Row, Stores

_RESOLVER: Final = "SELECT partition, epoch, coalesce(next_offset, 0) AS next_offset FROM identity.partitions"
_RECORDER: Final = """
SELECT topic, partition, epoch, next_offset, next_received_offset FROM identity.recorder_partitions
"""
_INTENTS: Final = "SELECT topic, partition, first_offset, last_offset FROM identity.recorder_intents"
_EFFECTS: Final = """
SELECT received_partition, max(last_offset) AS last FROM event_outcomes GROUP BY received_partition
"""
Place = tuple[str, str, int]  # who, topic, partition


@dataclass(frozen=True, slots=True)
class Positions:
    """Who is where at one moment: (process, topic, partition) -> (epoch, next offset)."""

    at: Mapping[Place, tuple[int, int]]
    received: Mapping[int, int]  # partition -> the recorder's next_received_offset
    open_intents: frozenset[Place]


async def positions(stores: Stores) -> Positions:
    """As Postgres has them now."""
    at: dict[Place, tuple[int, int]] = {}
    received: dict[int, int] = {}
    for row in await stores.postgres.rows(_RESOLVER):
        at["resolver", EVENTS_RECEIVED, row["partition"]] = (row["epoch"], row["next_offset"])
    for row in await stores.postgres.rows(_RECORDER):
        at["recorder", row["topic"], row["partition"]] = (row["epoch"], row["next_offset"])
        if row["topic"] == EVENTS_IDENTIFIED:
            received[row["partition"]] = row["next_received_offset"]
    intents = await stores.postgres.rows(_INTENTS)
    return Positions(at, received, frozenset(_place(row) for row in intents))


async def check_positions(stores: Stores, before: Positions) -> Finding:
    """I10. ``before`` is how it was when the checks began: positions and epochs may only have risen since."""
    result, stored = finding("I10"), await _effects(stores)
    now = await positions(stores)
    for place, (epoch, offset) in now.at.items():
        old_epoch, old_offset = before.at.get(place, (epoch, offset))
        if offset < old_offset or epoch < old_epoch:
            result.wrong(f"{_name(place)} went back from {old_offset} (epoch {old_epoch}) to {offset} (epoch {epoch})")
    _against_effects(now, stored, await _effects(stores), result)
    if stores.log is not None:
        topics = {EVENTS_RECEIVED, *(topic for _, topic, _ in now.at)}
        ends = {topic: await stores.log.ends(topic) for topic in sorted(topics)}
        for place, (_, offset) in now.at.items():
            end = ends[place[1]].get(place[2], 0)
            if offset > end:
                result.wrong(f"{_name(place)} is at {offset}, and the topic ends at {end}")
        for number, end in ends[EVENTS_RECEIVED].items():
            place = ("resolver", EVENTS_RECEIVED, number)
            if end and place not in now.at:
                result.wrong(f"{_name(place)} has no position, and the topic ends at {end}")
    result.compared = f"{len(now.at)} positions, twice, with the ends of topics and what is stored"
    return result


async def _effects(stores: Stores) -> dict[int, int]:
    """Partition of events-received -> the last offset that has an outcome in the store."""
    return {row["received_partition"]: row["last"] for row in await stores.events(_EFFECTS)}


def _against_effects(now: Positions, before: Mapping[int, int], after: Mapping[int, int], result: Finding) -> None:
    """``before`` and ``after`` the positions were read: so what moves meanwhile looks like no fault."""
    for partition in sorted(now.received.keys() | before.keys()):
        following = now.received.get(partition, 0)  # without a position nothing may be stored
        last = after.get(partition, -1)
        if following - 1 > last:
            result.wrong(f"{EVENTS_RECEIVED}[{partition}]: recorded up to {following - 1}, stored only up to {last}")
        last = before.get(partition, -1)
        if last >= following and ("recorder", EVENTS_IDENTIFIED, partition) not in now.open_intents:
            result.wrong(f"{EVENTS_RECEIVED}[{partition}]: stored up to {last}, without intent or position for it")
        resolved = now.at.get(("resolver", EVENTS_RECEIVED, partition))
        if resolved is not None and following > resolved[1]:
            result.wrong(
                f"{EVENTS_RECEIVED}[{partition}]: recorded up to {following - 1}, resolved to {resolved[1] - 1}"
            )


def _place(row: Row) -> Place:
    return "recorder", row["topic"], row["partition"]


def _name(place: Place) -> str:
    process, topic, partition = place
    return f"{process}, {topic}[{partition}]"
