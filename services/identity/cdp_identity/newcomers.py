"""Nodes that nobody knows yet and nothing links -> their rows and profiles, whole before anything is locked.

Most new people are such nodes: an anonymous visitor, alone. Their profiles depend on nothing that another worker could
change, so they are written once, instead of being made as a place and filled later.
"""

from collections.abc import Collection
from datetime import datetime
from typing import NamedTuple

from cdp_identity import changes
from cdp_identity.batch import Sayings
from cdp_identity.changes import Changes, Group
from cdp_identity.rows import Key, NodeRow
from cdp_schemas.profiles import ProfileUpdated, Revenue


class Newcomer(NamedTuple):
    """A new node, and the profile that it is."""

    row: NodeRow
    record: ProfileUpdated


def newcomers(
    known: Collection[Key], sayings: Sayings, speakers: Collection[Key], now: datetime, currency: str
) -> tuple[dict[Key, Newcomer], Changes]:
    """The batch's newcomers, and what else they change. ``speakers`` have orders: their revenue is in the ledger."""
    linked = {end for pair in sayings.links for end in pair}
    found: dict[Key, Newcomer] = {}
    rest = Changes()
    for node, mention in sayings.mentions.items():
        key = (mention.workspace_id, node)
        if node not in linked and key not in known and key not in speakers:
            row = changes.absorb(None, mention, rest)
            group = Group(key, [row], arrived=mention.arrived, is_new_set=True)
            found[key] = Newcomer(row, changes.fold_profile(group, now, Revenue(currency)))
    return found, rest
