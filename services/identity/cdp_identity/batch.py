"""Records of events-received -> what each becomes, and what the batch as a whole says about each node."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Final, NamedTuple
from uuid import UUID

from msgspec.structs import replace

from cdp_eventlog.log import Record
from cdp_identity import consent, statements
from cdp_identity.fold import NodeState
from cdp_identity.golden import from_micros, to_micros
from cdp_identity.graph import Pair, link
from cdp_identity.identifiers import ANONYMOUS_ID, DEVICE_ID, PROFILE_ID, Identifier
from cdp_identity.orders import Order
from cdp_identity.rows import ConsentEntry, Key, LinkRow, Message, NodeRow, OrderKey
from cdp_identity.statements import Reading, Statement, Unusable
from cdp_identity.traits import EXPLICIT, Register
from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.events import Outcome, ReceivedEvent

NOBODY: Final = UUID(int=0)
# what many people may use: an erased person's late events are told by the other kinds
_IMPERSONAL: Final = frozenset({ANONYMOUS_ID, DEVICE_ID})
_codec = Codec(ReceivedEvent)


class Refusal(NamedTuple):
    """Why an event was quarantined."""

    reason: str
    detail: str
    path: str = ""


@dataclass(slots=True)
class Item:
    """One record on its way: what it states, and what becomes of it."""

    record: Record
    event: ReceivedEvent | None = None
    statement: Statement | None = None
    outcome: Outcome = "stored"
    refusal: Refusal | None = None

    @property
    def node(self) -> UUID:
        return self.statement.node if self.statement else NOBODY

    def quarantine(self, refusal: Refusal) -> None:
        self.outcome, self.refusal = "quarantined", refusal


@dataclass(slots=True)
class Mention:
    """All that a batch says about one node. Times in µs; ``last`` is None when no event stays with the node.

    ``consents``: everything that was said of consent, as lines of its history, each with its emitter.
    """

    workspace_id: str
    identifier: Identifier
    first: int
    arrived: int
    last: int | None = None
    state: NodeState = field(default_factory=NodeState)
    consents: list[tuple[int, ConsentEntry]] = field(default_factory=list)


@dataclass(slots=True)
class Sayings:
    """A batch, coalesced: per node, per link (which holds, as far as the batch knows), per order."""

    mentions: dict[UUID, Mention] = field(default_factory=dict)
    links: dict[Pair, LinkRow] = field(default_factory=dict)
    orders: dict[OrderKey, Order] = field(default_factory=dict)


def read_records(records: Iterable[Record], reading: Reading) -> list[Item]:
    """Each record as an item; what cannot be read is quarantined at once."""
    return [_read(record, reading) for record in records]


def _read(record: Record, reading: Reading) -> Item:
    item = Item(record)
    try:
        item.event = _codec.decode(record.value)
        item.statement = statements.read(item.event, reading)
    except InvalidMessage as error:
        item.quarantine(Refusal("bad_message", str(error)))
    except Unusable as error:
        item.quarantine(Refusal(error.reason, error.detail, error.path))
    except (ValueError, TypeError, ArithmeticError, RecursionError) as error:
        # a fault of ours that one event shows must not stop its neighbours
        item.quarantine(Refusal("unreadable", f"{type(error).__name__}: {error}"))
    return item


def keys(items: Iterable[Item]) -> set[Key]:
    """Workspace and node of every identifier in the batch."""
    return {
        (item.statement.event.workspace_id, one.node_id)
        for item in items
        if item.statement is not None
        for one in item.statement.identifiers
    }


def quarantine_unknown(items: Sequence[Item], known: Mapping[Key, NodeRow]) -> None:
    """Events for a profile id that no node has are quarantined: there is nobody they could belong to."""
    made: set[Key] | None = None
    for item in items:
        if item.statement is None or item.outcome != "stored":
            continue
        workspace_id = item.statement.event.workspace_id
        for one in item.statement.identifiers:
            if one.kind != PROFILE_ID:
                continue
            row = known.get((workspace_id, one.node_id))
            made = _named_nodes(items) if made is None else made
            if (row is None or not row.is_live) and (workspace_id, one.node_id) not in made:
                detail = f"there is no profile {one.value} in this workspace"
                item.quarantine(Refusal("unknown_profile", detail, "profileId"))


def _named_nodes(items: Iterable[Item]) -> set[Key]:
    """Nodes that the batch names by an identifier, not only by a profile id."""
    return {
        (item.statement.event.workspace_id, one.node_id)
        for item in items
        if item.statement is not None and item.outcome == "stored"
        for one in item.statement.identifiers
        if one.kind != PROFILE_ID
    }


def message_of(item: Item) -> Message:
    """What the item's message id is remembered by. The item has a statement."""
    statement = item.statement
    assert statement is not None
    record = item.record
    return Message(
        message_key(statement.event.workspace_id, statement.event.message_id),
        statement.arrived,
        record.offset,
        record.partition.number,
    )


def message_key(workspace_id: str, message_id: str) -> bytes:
    """128 bits that stand for a message id of a workspace."""
    return blake2b(f"{workspace_id}\x1f{message_id}".encode(), digest_size=16).digest()


def suppress_erased(items: Iterable[Item], known: Mapping[Key, NodeRow]) -> None:
    """Events of an erased person that arrived up to the erasure are dropped; shared devices lose only their link."""
    if not any(row.erased_at is not None for row in known.values()):
        return
    for item in items:
        statement = item.statement
        if statement is None or item.outcome != "stored":
            continue
        erased = [one for one in statement.identifiers if _is_erased(statement, one, known)]
        if any(one is statement.identifiers[0] or one.kind not in _IMPERSONAL for one in erased):
            item.outcome = "suppressed"
        elif erased:
            kept = tuple(one for one in statement.identifiers if one not in erased)
            item.statement = replace(statement, identifiers=kept)


def _is_erased(statement: Statement, one: Identifier, known: Mapping[Key, NodeRow]) -> bool:
    row = known.get((statement.event.workspace_id, one.node_id))
    return row is not None and row.erased_at is not None and statement.arrived <= row.erased_at


def unread_amounts(items: Iterable[Item]) -> int:
    """How many of the orders and refunds that are stored name an amount that cannot be read."""
    told = [item.statement.order for item in items if item.outcome == "stored" and item.statement is not None]
    return sum(order is not None and order.is_unread for order in told)


def gather(items: Iterable[Item]) -> Sayings:
    """What the stored events of a batch say, coalesced; the order of the items does not matter."""
    sayings = Sayings()
    for item in items:
        if item.outcome == "stored" and item.statement is not None:
            _gather(sayings, item.statement)
    return sayings


def _gather(sayings: Sayings, said: Statement) -> None:
    event = said.event
    first, *others = said.identifiers
    mention = _mention(sayings, said, first)
    mention.last = said.moment if mention.last is None else max(mention.last, said.moment)
    for other in others:
        _mention(sayings, said, other)
        found = link(first.node_id, other.node_id, said.moment, event.message_id)
        old = sayings.links.get(found.pair)
        if old is None or found.order < old.link.order:
            sayings.links[found.pair] = LinkRow(event.workspace_id, found, "h", event.source_id)
    if said.traits or said.consent:
        _say(mention, said)
    if said.order is not None:
        key = (event.workspace_id, said.order.order_id)
        before = sayings.orders.get(key)
        sayings.orders[key] = said.order.order if before is None else before.join(said.order.order)


def _mention(sayings: Sayings, said: Statement, one: Identifier) -> Mention:
    mention = sayings.mentions.get(one.node_id)
    if mention is None:
        mention = Mention(said.event.workspace_id, one, said.moment, said.arrived)
        sayings.mentions[one.node_id] = mention
        return mention
    mention.first = min(mention.first, said.moment)
    mention.arrived = min(mention.arrived, said.arrived)
    if mention.identifier.kind == PROFILE_ID:
        mention.identifier = one
    return mention


def _say(mention: Mention, said: Statement) -> None:
    event, state = said.event, mention.state
    for name, value in said.traits.items():
        state.traits.setdefault(name, Register()).say(said.emitter, value, said.moment)
    means_it = event.type == "consent" or said.emitter == EXPLICIT
    for purpose, granted in said.consent.items():
        emitter = EXPLICIT if means_it else said.emitter
        state.consent.setdefault(purpose, Register()).say(emitter, granted, said.moment)
        line = (event.workspace_id, mention.identifier.node_id, purpose, granted, from_micros(said.moment))
        mention.consents.append((emitter, ConsentEntry(*line, event.message_id, event.source_id)))
    state.sources[said.emitter] = event.source_id


def changed_consents(mention: Mention, before: Mapping[str, Register]) -> list[ConsentEntry]:
    """The history's new lines: what is meant each time, and what differs from all that its emitter said until then."""
    lines: list[ConsentEntry] = []
    latest: dict[tuple[str, int], tuple[int, bool]] = {}
    for emitter, entry in sorted(mention.consents, key=lambda one: (one[1].at, one[1].message_id)):
        key, said = (entry.purpose, emitter), (to_micros(entry.at), entry.granted)
        known = [one for one in consent.statements(before.get(entry.purpose), emitter) if one[0] <= said[0]]
        _, was_granted = max([*known, *([latest[key]] if key in latest else [])], default=(0, None))
        if emitter == EXPLICIT or was_granted is not entry.granted:
            lines.append(entry)
        latest[key] = said
    return lines
