"""What a batch says and what is locked -> the rows to write and the messages to send. No IO, no clock."""

from collections import Counter
from collections.abc import Iterable, Mapping, Set
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

import msgspec

from cdp_identity import consent, fold, traits
from cdp_identity.batch import Mention, changed_consents
from cdp_identity.fold import NodeState
from cdp_identity.golden import Frame, Member, from_micros, golden_record, identifiers
from cdp_identity.graph import Link
from cdp_identity.regroup import Regrouping
from cdp_identity.rows import ConsentEntry, Key, LinkRow, NodeRow, ProfileRow
from cdp_schemas.profiles import NodeMoved, ProfileUpdated, Revenue

STATE_BYTES: Final = 64 * 1024


@dataclass(slots=True)
class Group:
    """One profile as it is after the batch."""

    key: Key
    nodes: list[NodeRow] = field(default_factory=list)
    links: list[Link] = field(default_factory=list)
    arrived: int | None = None
    is_new_set: bool = False

    def has(self, nodes: Set[UUID]) -> bool:
        """Whether any of the nodes belongs to the group."""
        return any(row.node_id in nodes for row in self.nodes)


@dataclass(slots=True)
class Changes:
    """Everything a batch changes; ``gone`` are profiles without nodes, ``unused`` ones that were made in vain."""

    nodes: list[NodeRow] = field(default_factory=list)
    consents: list[ConsentEntry] = field(default_factory=list)
    updated: list[ProfileUpdated] = field(default_factory=list)
    gone: list[ProfileUpdated] = field(default_factory=list)
    unused: list[Key] = field(default_factory=list)
    moved: list[NodeMoved] = field(default_factory=list)
    refused: list[str] = field(default_factory=list)
    dropped_traits: int = 0
    dropped_purposes: int = 0


def needs_write(row: NodeRow | None, mention: Mention, least_move: int) -> bool:
    """Whether a mention changes its node: more than ``least_move`` µs of last seen, or anything else."""
    if row is None or not row.is_live or mention.state or mention.first < row.first_seen:
        return True
    if mention.last is None:
        return False
    return row.last_seen is None or mention.last - row.last_seen > least_move


def absorb(row: NodeRow | None, mention: Mention, changes: Changes) -> NodeRow:
    """The node with what the batch says about it; adds the history of consent to ``changes``."""
    if row is None:
        one = mention.identifier
        row = NodeRow(
            mention.workspace_id, one.node_id, one.node_id, one.kind, one.value, mention.first, None, None, None
        )
    seen = [at for at in (row.last_seen, mention.last) if at is not None]
    row = row._replace(first_seen=min(row.first_seen, mention.first), last_seen=max(seen, default=None))
    return row._replace(state=_joined(row.state, mention, changes)) if mention.state else row


def _joined(data: bytes | None, mention: Mention, changes: Changes) -> bytes:
    state = fold.decode(data) if data else NodeState()
    known, spoken = set(state.traits), set(state.consent)
    lines = changed_consents(mention, state.consent)
    state.join(mention.state)
    told = len(state.consent)
    state.consent = consent.fitting(state.consent, spoken)
    changes.consents += [line for line in lines if line.purpose in state.consent]
    changes.dropped_purposes += told - len(state.consent)
    encoded = fold.encode(state)
    if len(encoded) <= STATE_BYTES:
        return encoded
    # what is there stays; new traits take what space is left, the rest is dropped and counted
    kept = fold.decode(data) if data else NodeState()
    kept.join(NodeState(sources=mention.state.sources))
    kept.consent = state.consent
    space = STATE_BYTES - len(fold.encode(kept))
    new = sorted(mention.state.traits.items(), key=lambda item: (item[0] not in known, item[1].since(), item[0]))
    for name, register in new:
        space -= len(fold.encode(NodeState({name: register})))
        if space >= 0:
            kept.join(NodeState({name: register}))
        else:
            changes.dropped_traits += 1
    return fold.encode(kept)


def groups(nodes: Mapping[UUID, NodeRow], regrouped: Regrouping, mentions: Mapping[UUID, Mention]) -> dict[Key, Group]:
    """The nodes by the profile they now belong to."""
    found: dict[Key, Group] = {}
    for node, row in nodes.items():
        key = (row.workspace_id, regrouped.profile_of[node])
        group = found.get(key)
        if group is None:
            group = found[key] = Group(key)
        group.nodes.append(row)
        mention = mentions.get(node)
        if mention is not None:
            group.arrived = mention.arrived if group.arrived is None else min(group.arrived, mention.arrived)
    for link in regrouped.held:
        end = nodes.get(link.a)
        if end is not None:
            found[end.workspace_id, regrouped.profile_of[link.a]].links.append(link)
    return found


def moves(
    known: Mapping[UUID, NodeRow], found: Mapping[Key, Group], now: datetime, new: Iterable[LinkRow]
) -> list[NodeMoved]:
    """Nodes whose profile is another now, because of the new links; a new node comes from its own.

    Marks the groups that have other nodes now.
    """
    because = {end: row.link.message_id for row in new for end in row.link.pair}
    told = []
    for key, group in found.items():
        for row in group.nodes:
            old = known.get(row.node_id)
            before = row.node_id if old is None else old.profile_id
            group.is_new_set |= old is None or before != key[1]
            if before != key[1]:
                left = old is not None and (row.workspace_id, before) in found
                moved = NodeMoved(row.workspace_id, row.node_id, before, key[1], 0, now, "unmerge" if left else "merge")
                told.append(msgspec.structs.replace(moved, message_id=because.get(row.node_id)))
    held = Counter(row.profile_id for row in known.values())
    for group in found.values():
        group.is_new_set |= held[group.key[1]] != len(group.nodes)
    return told


def fold_profile(group: Group, created_at: datetime, revenue: Revenue) -> ProfileUpdated:
    """The golden record of a group."""
    members = [
        Member(row.node_id, row.kind, row.value, row.first_seen, row.last_seen, _state(row)) for row in group.nodes
    ]
    record = golden_record(Frame(*group.key, created_at), members, group.links, revenue)
    if sum(len(row.state) for row in group.nodes if row.state) > STATE_BYTES:
        # many nodes, each within its space, may together be more than a message takes
        record = msgspec.structs.replace(record, traits=traits.fitting(record.traits, STATE_BYTES))
    return record if group.arrived is None else msgspec.structs.replace(record, received_at=from_micros(group.arrived))


def _state(row: NodeRow) -> NodeState:
    return fold.decode(row.state) if row.state else NodeState()


def is_news(record: ProfileUpdated, before: ProfileRow, least_move: int) -> bool:
    """Whether a golden record says more than the stored one, a small move of last seen apart."""
    same = (
        record.traits == before.traits
        and record.consent == before.consent
        and record.consent_at == before.consent_at
        and record.revenue == before.revenue
        and record.first_seen == before.first_seen
    )
    if not same or before.last_seen is None or record.last_seen is None:
        return True
    return (record.last_seen - before.last_seen).total_seconds() * 1_000_000 > least_move


def reorders(record: ProfileUpdated, group: Group, known: Mapping[UUID, NodeRow]) -> bool:
    """Whether the same nodes' identifiers come in another order now that some were seen earlier than it was known."""
    before = [(row.kind, known[row.node_id].first_seen, row.value) for row in group.nodes]
    return record.identifiers != identifiers(before)
