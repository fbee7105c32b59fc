"""Profiles <-> the nodes that their events stay with, as ClickHouse statements."""

from collections.abc import Sequence
from typing import Final
from uuid import UUID

from cdp_clickhouse.statement import Statement, join, value

_MOVED: Final = "SELECT node_id, profile_id FROM profile_aliases FINAL WHERE"
_NOBODY: Final = "toUUID('00000000-0000-0000-0000-000000000000')"
# For a statement that joins its events with all aliases. Both come ordered by node, so they are merged: a hash table of
# the aliases is larger than a processor's cache, and every event would miss it. Each block of events is merged by
# itself: 4 MB of them are as many rows as ClickHouse takes at once, its usual megabyte is a third of that.
BY_ORDER: Final = "SETTINGS join_algorithm = 'partial_merge', preferred_block_size_bytes = 4000000"


def workspace(workspace_id: str) -> Statement:
    """The condition that leads every query: ``workspace_id = ...``."""
    return "workspace_id = " + value("workspace", "String", workspace_id)


def aliases(workspace_id: str) -> Statement:
    """The query of all nodes that moved to another profile: (node_id, profile_id)."""
    return join(" ", [_MOVED, workspace(workspace_id)])


def profile_of(node: str, alias: str) -> str:
    """The expression for a node's profile after a left join with :func:`aliases`: without an alias it is its own."""
    return f"if({alias}.profile_id = {_NOBODY}, {node}, {alias}.profile_id)"


def profiles_of(workspace_id: str, nodes: Sequence[UUID]) -> Statement:
    """Rows (node_id, profile_id) of those among ``nodes`` that moved; the others are their own."""
    return join(" ", [aliases(workspace_id), "AND node_id IN", value("nodes", "Array(UUID)", list(nodes))])


def belongs_to(workspace_id: str, profile_id: UUID) -> Statement:
    """The condition that an event's node is of this profile."""
    profile = value("profile", "UUID", profile_id)
    moved = join(" ", ["SELECT node_id FROM (", aliases(workspace_id), ") WHERE profile_id =", profile])
    return join(" ", ["(node_id =", profile, "OR node_id IN (", moved, "))"])
