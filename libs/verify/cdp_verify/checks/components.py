"""Nodes, links, golden records -> I7: profiles are the connected components of what holds, and everybody says the same.

Nodes and links are streams ordered by profile, read side by side: one profile is in memory at once.
"""

import json
from collections import Counter
from collections.abc import AsyncIterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Final
from uuid import UUID

from cdp_runtime.parts import in_parts
from cdp_verify.findings import Finding, finding
from cdp_verify.stores import Row, Stores
from cdp_verify.times import ticks
from cdp_verify.traits import Likeness, compared

_COMPARED: Final = 2000  # profiles asked for at once
_NODES_AT_ONCE: Final = 100_000  # of events, in memory
# what a golden record and its replica have alike; nothing that was never told is none, whatever a store makes of it
_FACTS: Final = ("ltv_minor", "refunded_minor", "order_count", "currency")
_TIMES: Final = ("first_seen", "last_seen", "first_order_at", "last_order_at")
_RANKS: Final[Mapping[str, int]] = {"user_id": 0, "email": 1, "phone": 2, "anonymous_id": 4, "device_id": 5}
_OTHER_RANK: Final = 3
_NODES: Final = """
SELECT workspace_id, profile_id, node_id, kind, value FROM identity.nodes
WHERE kind <> '' AND (%(workspace)s::text IS NULL OR workspace_id = %(workspace)s)
ORDER BY workspace_id COLLATE "C", profile_id
"""
_LINKS: Final = """
SELECT l.workspace_id, n.profile_id, l.a, l.b FROM identity.links AS l
JOIN identity.nodes AS n ON n.workspace_id = l.workspace_id AND n.node_id = l.a
WHERE l.status = 'h' AND n.kind <> '' AND (%(workspace)s::text IS NULL OR l.workspace_id = %(workspace)s)
ORDER BY l.workspace_id COLLATE "C", n.profile_id
"""
_REPLICAS: Final = f"""
SELECT profile_id, version, identifiers, consent, toJSONString(traits) AS traits, {", ".join(_FACTS)},
       {", ".join(f"toUnixTimestamp64Milli({name}) AS {name}_ms" for name in _TIMES)}
FROM profiles FINAL
WHERE workspace_id = {{asked:String}} AND profile_id IN {{profiles:Array(UUID)}}
"""  # noqa: S608 - constants
_ALIASES: Final = """
SELECT node_id, profile_id FROM profile_aliases FINAL
WHERE workspace_id = {asked:String} AND node_id IN {nodes:Array(UUID)}
"""
_RECORDS: Final = f"""
SELECT profile_id, version, traits, consent, {", ".join((*_FACTS, *_TIMES))} FROM identity.profiles
WHERE workspace_id = %(workspace)s AND profile_id = ANY(%(profiles)s)
"""  # noqa: S608 - constants
_HOW_MANY_ACTED: Final = "SELECT uniq(workspace_id, node_id) AS n FROM events WHERE {workspace}"
_ACTED: Final = """
SELECT DISTINCT workspace_id, node_id FROM events
WHERE {workspace} AND cityHash64(node_id) % {parts:UInt32} = {part:UInt32}
"""
# who was erased is known still
_UNKNOWN: Final = """
SELECT acted.node_id FROM unnest(%(nodes)s::uuid[]) AS acted(node_id)
LEFT JOIN identity.nodes AS n ON n.workspace_id = %(workspace)s AND n.node_id = acted.node_id
WHERE n.node_id IS NULL
"""
_KEPT: Final = """
SELECT workspace_id, count(*) AS n FROM identity.profiles
WHERE %(workspace)s::text IS NULL OR workspace_id = %(workspace)s
GROUP BY 1
"""
_SHOWN: Final = """
SELECT workspace_id, count() AS n FROM profiles FINAL
WHERE {workspace} AND cityHash64(profile_id) % {chunks:UInt32} = {chunk:UInt32}
GROUP BY workspace_id
"""
Owner = tuple[str, UUID]


@dataclass(slots=True)
class Group:
    """One profile: its nodes with kind and value, and the links that hold among them."""

    workspace_id: str
    profile_id: UUID
    nodes: dict[UUID, tuple[str, str]] = field(default_factory=dict)
    links: list[tuple[UUID, UUID]] = field(default_factory=list)

    def faults(self) -> list[str]:
        """Why it is no profile."""
        found = []
        for a, b in self.links:
            if b not in self.nodes:
                found.append(f"the link {a} - {b} holds, and leads to another profile")
        parts = _parts(self.nodes, self.links)
        if parts > 1:
            found.append(f"its {len(self.nodes)} nodes are {parts} components")
        users = [value for kind, value in self.nodes.values() if kind == "user_id"]
        if len(users) > 1:
            found.append(f"it has {len(users)} user ids: {', '.join(sorted(users)[:3])}")
        head = min(self.nodes, key=lambda node: (_RANKS.get(self.nodes[node][0], _OTHER_RANK), node))
        if head != self.profile_id:
            found.append(f"its id should be that of its strongest node, {head}")
        return [f"{self.workspace_id}: profile {self.profile_id}: {fault}" for fault in found]

    def identifiers(self) -> dict[str, set[str]]:
        """Kind -> values."""
        found: dict[str, set[str]] = {}
        for kind, value in self.nodes.values():
            found.setdefault(kind, set()).add(value)
        return found


async def check_components(stores: Stores) -> Finding:
    """I7, in Postgres, and its replica in ClickHouse."""
    result, nodes, profiles, untold = finding("I7"), 0, 0, 0
    waiting: list[Group] = []
    async for group in _groups(stores):
        nodes, profiles = nodes + len(group.nodes), profiles + 1
        result.all_wrong(group.faults())
        if waiting and (len(waiting) == _COMPARED or waiting[0].workspace_id != group.workspace_id):
            untold += await _compare(stores, waiting, result)
            waiting = []
        waiting.append(group)
    if waiting:
        untold += await _compare(stores, waiting, result)
    await _nobodies(stores, result)
    await _strangers(stores, result)
    result.compared = f"{profiles:,} profiles of {nodes:,} nodes, their golden records and aliases"
    if untold:
        result.notes.append(f"{untold:,} profiles have traits that ClickHouse does not hold as they are")
    return result


async def _nobodies(stores: Stores, result: Finding) -> None:
    """Golden records of those who were merged away or erased, told by their number: all others were compared."""
    rows = await stores.postgres.rows(_KEPT, {"workspace": stores.scope.workspace_id})
    kept = Counter[str]({row["workspace_id"]: row["n"] for row in rows})
    shown, chunks = Counter[str](), stores.scope.chunks
    for chunk in range(chunks):
        for row in await stores.events(_SHOWN, chunks=chunks, chunk=chunk):
            shown[row["workspace_id"]] += row["n"]
    for workspace in sorted(kept | shown):
        if kept[workspace] != shown[workspace]:
            result.wrong(f"{workspace}: {kept[workspace]} profiles in Postgres, {shown[workspace]} in ClickHouse")


async def _strangers(stores: Stores, result: Finding) -> None:
    """Whose events are there, and who is nobody: with the node its profile is gone from both stores."""
    parts = 1 + (await stores.events(_HOW_MANY_ACTED))[0]["n"] // _NODES_AT_ONCE
    for part in range(parts):
        acted: dict[str, list[UUID]] = {}
        for row in await stores.events(_ACTED, parts=parts, part=part):
            acted.setdefault(row["workspace_id"], []).append(row["node_id"])
        for workspace, nodes in acted.items():
            for some in in_parts(nodes, _COMPARED):
                asked = {"workspace": workspace, "nodes": some}
                unknown = await stores.postgres.rows(_UNKNOWN, asked)
                result.all_wrong(f"{workspace}: node {row['node_id']} has events, and is not known" for row in unknown)


async def _groups(stores: Stores) -> AsyncIterator[Group]:
    asked = {"workspace": stores.scope.workspace_id}
    links = stores.postgres.stream(_LINKS, asked)
    link = await anext(links, None)
    group: Group | None = None
    async for row in stores.postgres.stream(_NODES, asked):
        owner = _owner(row)
        if group is None or (group.workspace_id, group.profile_id) != owner:
            if group is not None:
                yield group
            group = Group(*owner)
            while link is not None and _owner(link) <= owner:
                group.links.append((link["a"], link["b"]))
                link = await anext(links, None)
        group.nodes[row["node_id"]] = (row["kind"], row["value"])
    if group is not None:
        yield group


def _owner(row: Row) -> Owner:
    return row["workspace_id"], row["profile_id"]


def _parts(nodes: Mapping[UUID, object], links: Sequence[tuple[UUID, UUID]]) -> int:
    """Connected components, by walking from node to node."""
    neighbours: dict[UUID, list[UUID]] = {}
    for a, b in links:
        neighbours.setdefault(a, []).append(b)
        neighbours.setdefault(b, []).append(a)
    left, parts = set(nodes), 0
    while left:
        parts, reached = parts + 1, [left.pop()]
        while reached:
            near = [one for one in neighbours.get(reached.pop(), ()) if one in left]
            left.difference_update(near)
            reached += dict.fromkeys(near)
    return parts


async def _compare(stores: Stores, groups: Sequence[Group], result: Finding) -> int:
    """Golden records and aliases of some profiles of one workspace; of how many the traits cannot be compared."""
    workspace = groups[0].workspace_id
    profiles = [group.profile_id for group in groups]
    rows = await stores.events(_REPLICAS, asked=workspace, profiles=profiles)
    replicas = {row["profile_id"]: row for row in rows}
    records = await stores.postgres.rows(_RECORDS, {"workspace": workspace, "profiles": profiles})
    recorded = {row["profile_id"]: row for row in records}
    untold = 0
    for group in groups:
        name = f"{workspace}: profile {group.profile_id}"
        record, replica = recorded.get(group.profile_id), replicas.get(group.profile_id)
        if record is None:
            result.wrong(f"{name} has no golden record in Postgres")
        known = {kind: set(values) for kind, values in replica["identifiers"].items()} if replica else {}
        if known != group.identifiers():
            result.wrong(f"{name} has {group.identifiers()} in Postgres and {known or 'no row'} in ClickHouse")
        if record and replica:
            untold += _compare_facts(name, record, replica, result) is Likeness.UNTOLD
    await _compare_aliases(stores, groups, result)
    return untold


def _compare_facts(name: str, record: Row, replica: Row, result: Finding) -> Likeness:
    """Version, consent, money, times and traits; how like the traits are."""
    both = [("version", record["version"], replica["version"])]
    both += [("consent", record["consent"] or {}, replica["consent"])]
    both += [(what, record[what], replica[what]) for what in _FACTS if record[what] is not None]
    times = [(what, record[what], replica[f"{what}_ms"] or 0) for what in _TIMES]
    both += [(what, 0 if kept is None else ticks(kept), shown) for what, kept, shown in times]
    for what, kept, shown in both:
        if kept != shown:
            result.wrong(f"{name} has {what} {kept} in Postgres and {shown} in ClickHouse")
    traits = json.loads(replica["traits"])
    likeness = compared(record["traits"] or {}, traits)
    if likeness is Likeness.OTHER:
        result.wrong(f"{name} has traits {record['traits']} in Postgres and {traits} in ClickHouse")
    return likeness


async def _compare_aliases(stores: Stores, groups: Sequence[Group], result: Finding) -> None:
    workspace = groups[0].workspace_id
    belongs = {node: group.profile_id for group in groups for node in group.nodes}
    for some in in_parts(belongs, _COMPARED):
        rows = await stores.events(_ALIASES, asked=workspace, nodes=some)
        aliases = {row["node_id"]: row["profile_id"] for row in rows}
        for node in some:
            if aliases.get(node, node) != belongs[node]:
                there = aliases.get(node, node)
                result.wrong(f"{workspace}: node {node} belongs to {belongs[node]}, in ClickHouse to {there}")
