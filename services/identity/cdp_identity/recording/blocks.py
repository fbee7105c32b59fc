"""Records of events-identified -> columns of ClickHouse blocks, one block per table and month of arrival.

A block costs ClickHouse several parts (its own and one for each view), whatever its size, so the partitions of a flush
share their blocks.
"""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from uuid import UUID

from cdp_eventlog.log import Record
from cdp_identity.recording.protocol import Intent, Place, fresh, token
from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.event_names import event_name
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.tables import EVENT_OUTCOMES, EVENTS

_CODEC: Final = Codec(IdentifiedEvent)
_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_MS: Final = timedelta(milliseconds=1)
Arrivals = dict[str, dict[UUID, datetime]]  # workspace -> node -> arrival
# beside what readers use: the place in events-received up to which a partition was counted
OUTCOME_COLUMNS: Final = (*EVENT_OUTCOMES.columns, "received_partition", "last_offset")
# beside what readers use: whether the views of the events table pass over the row
REWRITTEN: Final = "rewritten"


@dataclass(frozen=True, slots=True)
class Block:
    """One insert: columns of equal length under a token. ``received`` are the places that prove it, if it has any.

    Without a token its rows carry versions: writing them twice changes nothing.
    """

    table: str
    names: tuple[str, ...]
    columns: Sequence[Sequence[Any]]
    token: str | None = None
    received: Sequence[Place] = ()

    @property
    def rows(self) -> int:
        return len(self.columns[0])

    def column(self, name: str) -> Sequence[Any]:
        """The values of one column, one for each row."""
        return self.columns[self.names.index(name)]

    def only(self, positions: Sequence[int], new_token: str) -> "Block":
        """These rows alone, under another token."""
        columns = [[column[position] for position in positions] for column in self.columns]
        return Block(self.table, self.names, columns, new_token, [self.received[position] for position in positions])

    def rewritten(self, positions: Sequence[int], new_token: str) -> "Block":
        """These rows, which the store has lost after its views had counted them, under another token past the views."""
        if self.table != EVENTS.name:
            return replace(self, token=new_token)  # no view reads it, and its rows are there as a whole or not at all
        rows = self.only(positions, new_token)
        return replace(rows, names=(*rows.names, REWRITTEN), columns=[*rows.columns, [True] * rows.rows])

    def offsets(self) -> dict[int, list[int]]:
        """Partition of events-received -> the offsets that prove the block."""
        found: dict[int, list[int]] = {}
        for number, offset in self.received:
            found.setdefault(number, []).append(offset)
        return found


@dataclass(frozen=True, slots=True)
class Reading:
    """What one range of records holds: its new events in order, and what it repeated or had broken."""

    events: Sequence[IdentifiedEvent]
    next_received: int
    repeats: int
    unreadable: int


def read_events(records: Sequence[Record], next_received: int) -> Reading:
    """Decode and skip repeats. A record that is no IdentifiedEvent is counted and passed over: it never will be one."""
    decoded: list[IdentifiedEvent] = []
    for record in records:
        try:
            decoded.append(_CODEC.decode(record.value))
        except InvalidMessage:
            continue
    positions, following = fresh([event.received_offset for event in decoded], next_received)
    events = decoded if len(positions) == len(decoded) else [decoded[position] for position in positions]
    return Reading(events, following, len(decoded) - len(positions), len(records) - len(decoded))


def event_blocks(readings: Sequence[Reading], intents: Sequence[Intent]) -> list[Block]:
    """The blocks of the ranges of one flush: stored events per month, then the outcomes of the others.

    Events with outcome ``stored`` are counted into event_outcomes by a view of the events table.
    """
    events = [event for reading in readings for event in reading.events]
    stored = [event for event in events if event.outcome == "stored"]
    blocks = [_events(some, month, intents) for month, some in sorted(_by_month(stored).items())]
    if len(stored) < len(events):
        blocks.append(_outcomes([event for event in events if event.outcome != "stored"], intents))
    return blocks


def _by_month(events: Sequence[IdentifiedEvent]) -> dict[int, list[IdentifiedEvent]]:
    months: dict[int, list[IdentifiedEvent]] = {}
    for event in events:
        # the table is partitioned by toYYYYMM(received_at)
        months.setdefault(event.received_at.year * 100 + event.received_at.month, []).append(event)
    return months


def _events(events: Sequence[IdentifiedEvent], month: int, intents: Sequence[Intent]) -> Block:
    partitions = [event.received_partition for event in events]
    offsets = [event.received_offset for event in events]
    columns: list[Sequence[Any]] = [
        [event.workspace_id for event in events],
        [event_name(event.type, event.event) for event in events],
        [event.node_id for event in events],
        [milliseconds(event.timestamp) for event in events],
        [milliseconds(event.received_at) for event in events],
        [event.type for event in events],
        [event.message_id for event in events],
        [event.source_id for event in events],
        [event.session_id or "" for event in events],
        [event.user_id or "" for event in events],
        [event.anonymous_id or "" for event in events],
        [bytes(event.properties) for event in events],
        [bytes(event.traits) for event in events],
        [bytes(event.context) for event in events],
        partitions,
        offsets,
    ]
    places = list(zip(partitions, offsets, strict=True))
    return Block(EVENTS.name, EVENTS.columns, columns, token(EVENTS.name, intents, month), places)


def _outcomes(events: Sequence[IdentifiedEvent], intents: Sequence[Intent]) -> Block:
    counts: Counter[tuple[str, str, int, str, int]] = Counter()
    last: dict[tuple[str, str, int, str, int], int] = {}
    for event in events:
        who = (event.workspace_id, event.source_id)
        group = (*who, minute_of(milliseconds(event.received_at)), event.outcome, event.received_partition)
        counts[group] += 1
        last[group] = event.received_offset
    rows = [(*group[:4], count, group[4], last[group]) for group, count in sorted(counts.items())]
    return Block(
        EVENT_OUTCOMES.name,
        OUTCOME_COLUMNS,
        list(zip(*rows, strict=True)),
        token(EVENT_OUTCOMES.name, intents),
        [(event.received_partition, event.received_offset) for event in events],
    )


def milliseconds(at: datetime) -> int:
    """Ticks of DateTime64(3): whole milliseconds since 1970, cut off, never rounded up into the future."""
    return (at - _EPOCH) // _MS


def minute_of(arrived_ms: int) -> int:
    """The minute in which an event arrived, in seconds."""
    return arrived_ms // 60_000 * 60


def nodes_of(events: Sequence[IdentifiedEvent]) -> Arrivals:
    """The oldest arrival among the stored events of each node."""
    nodes: Arrivals = {}
    for event in events:
        if event.outcome == "stored":
            oldest = nodes.setdefault(event.workspace_id, {})
            before = oldest.get(event.node_id)
            if before is None or event.received_at < before:
                oldest[event.node_id] = event.received_at
    return nodes
