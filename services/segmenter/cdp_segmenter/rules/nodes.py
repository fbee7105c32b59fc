"""What profiles are known as -> the nodes that their events stay with -> the SQL of those events, by profile.

A look at some profiles has their golden records before it, and these say all nodes: the table of the nodes that moved,
which grows with the workspace, is not asked.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from operator import itemgetter
from typing import Final
from uuid import UUID

from cdp_schemas.nodes import node_id
from cdp_segmenter.rules.bound import Bound
from cdp_segmenter.rules.leaves import instant_sql

MS: Final = "toUnixTimestamp64Milli(timestamp)"
NODES_PER_QUESTION: Final = 20_000  # or all nodes of one profile, if it has more
_version = itemgetter(0)


@dataclass(frozen=True, slots=True)
class Nodes:
    """Nodes of some profiles, and beside each the number of its profile in the scope."""

    workspace_id: str
    ids: list[UUID]
    numbers: list[int]


def nodes_of(workspace_id: str, profiles: Iterable[tuple[int, int, Mapping[str, Sequence[str]]]]) -> list[Nodes]:
    """``profiles``: version of the record, number in the scope, identifiers by kind. In parts, each profile in one.

    A node that moves from one profile to another may for a moment be in both records: it belongs to the newer one.
    """
    parts: list[Nodes] = []
    met: set[UUID] = set()
    for _, number, identifiers in sorted(profiles, key=_version, reverse=True):
        said = (node_id(workspace_id, kind, value) for kind, values in identifiers.items() for value in values)
        own = [node for node in said if node not in met]
        met.update(own)
        if not parts or len(parts[-1].ids) + len(own) > NODES_PER_QUESTION:
            parts.append(Nodes(workspace_id, [], []))
        parts[-1].ids.extend(own)
        parts[-1].numbers.extend([number] * len(own))
    return [part for part in parts if part.ids]


def events_sql(bound: Bound, nodes: Nodes, names: tuple[str, ...]) -> str:
    """Rows ``name, ms, properties`` of the nodes' events of these names; ``name`` 1 is the first of them."""
    return f"SELECT {named_sql(bound, names)}, properties {of_nodes_sql(bound, nodes, names, None)}"


def number_sql(bound: Bound, nodes: Nodes) -> str:
    """The number of the profile that an event of these nodes belongs to."""
    numbers = bound("Array(UInt32)", tuple(nodes.numbers))
    return f"transform(node_id, {_ids(bound, nodes)}, {numbers}, toUInt32(0))"


def of_nodes_sql(bound: Bound, nodes: Nodes, names: tuple[str, ...], since: datetime | None) -> str:
    """``FROM`` and ``WHERE`` of the nodes' events of these names."""
    workspace = bound("String", nodes.workspace_id)
    return (
        f"FROM events WHERE workspace_id = {workspace}{among_sql(bound, names, since)} "
        f"AND node_id IN {_ids(bound, nodes)}"
    )


def named_sql(bound: Bound, names: tuple[str, ...]) -> str:
    """The columns ``name, ms`` of an event."""
    return f"toUInt16({name_sql(bound, names)}) AS name, {MS} AS ms"


def name_sql(bound: Bound, names: tuple[str, ...]) -> str:
    """The number of an event's name, 1 for the first of ``names``."""
    return f"transform(event, {bound('Array(String)', names)}, {bound('Array(UInt16)', _numbered(names))}, 0)"


def among_sql(bound: Bound, names: tuple[str, ...], since: datetime | None) -> str:
    """The condition that an event is one of these, and happened after a moment."""
    after = f" AND timestamp > {instant_sql(bound, since)}" if since is not None else ""
    return f" AND event IN {bound('Array(String)', names)}{after}"


def _numbered(names: tuple[str, ...]) -> tuple[int, ...]:
    return tuple(range(1, len(names) + 1))


def _ids(bound: Bound, nodes: Nodes) -> str:
    return bound("Array(UUID)", tuple(nodes.ids))
