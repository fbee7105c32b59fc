"""Nodes that nobody knows yet and no link leads to anybody known -> all that they become, before anything is locked.

Most new people are such nodes: an anonymous visitor, alone, or one who introduces herself. Their profiles depend on
nothing that another worker could change, so they are written once, instead of being made as places and filled later.
"""

from collections import defaultdict
from collections.abc import Collection, Iterable
from dataclasses import dataclass, field
from datetime import datetime
from uuid import UUID

from cdp_identity import changes
from cdp_identity.batch import Sayings
from cdp_identity.changes import Changes
from cdp_identity.graph import Guards, Pair
from cdp_identity.regroup import regroup
from cdp_identity.rows import Key, LinkRow, NodeRow
from cdp_schemas.profiles import NodeMoved, ProfileUpdated, Revenue


@dataclass(slots=True)
class Newcomers:
    """New nodes with the profiles that they are. ``places``: nodes that are in another's profile."""

    nodes: dict[Key, NodeRow] = field(default_factory=dict)
    links: list[LinkRow] = field(default_factory=list)
    profiles: list[ProfileUpdated] = field(default_factory=list)
    moved: list[NodeMoved] = field(default_factory=list)

    @property
    def places(self) -> list[Key]:
        return [key for key, row in self.nodes.items() if row.profile_id != row.node_id]


def newcomers(
    known: Collection[Key], sayings: Sayings, speakers: Collection[Key], now: datetime, currency: str, guards: Guards
) -> tuple[Newcomers, Changes]:
    """The batch's newcomers, and what else they change. ``speakers`` have orders: their revenue is in the ledger."""
    others = {
        node
        for node, mention in sayings.mentions.items()
        if (key := (mention.workspace_id, node)) in known or key in speakers
    }
    new = sayings.mentions.keys() - _led_to(others, sayings.links)
    rest = Changes()
    rows = {node: changes.absorb(None, mention, rest) for node, mention in sayings.mentions.items() if node in new}
    links = [row for row in sayings.links.values() if row.link.a in new]
    regrouped = regroup(rows, [], links, guards)
    groups = changes.groups(rows, regrouped, sayings.mentions)
    found = Newcomers(links=regrouped.links, moved=changes.moves({}, groups, now, links))
    for node, row in rows.items():
        found.nodes[row.workspace_id, node] = row._replace(profile_id=regrouped.profile_of[node])
    found.profiles = [changes.fold_profile(group, now, Revenue(currency)) for group in groups.values()]
    return found, rest


def _led_to(nodes: Iterable[UUID], links: Iterable[Pair]) -> set[UUID]:
    """These nodes, and all that links lead to from them."""
    ends = defaultdict[UUID, list[UUID]](list)
    for one, other in links:
        ends[one].append(other)
        ends[other].append(one)
    met = set(nodes)
    ahead = [node for node in met if node in ends]
    while ahead:
        further = [node for node in ends[ahead.pop()] if node not in met]
        met.update(further)
        ahead += further
    return met
