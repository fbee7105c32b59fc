"""Locked nodes, their links and the new ones -> which profile each node belongs to now, and which links hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from cdp_identity.graph import Components, Guards, Link, Pair, components
from cdp_identity.rows import Key, LinkRow, NodeRow


@dataclass(frozen=True, slots=True)
class Regrouping:
    """``profile_of``: every node -> its profile. ``links``: rows to write. ``held``: all links that hold."""

    profile_of: dict[UUID, UUID]
    links: list[LinkRow]
    held: list[Link]


def earliest(known: Mapping[Pair, LinkRow], said: Iterable[LinkRow]) -> list[LinkRow]:
    """The links that are new, or whose evidence is now earlier; what a person revoked stays revoked."""
    found = []
    for row in said:
        old = known.get(row.link.pair)
        if old is None or (old.status != "v" and row.link.order < old.link.order):
            found.append(row)
    return found


def reach(nodes: Mapping[UUID, NodeRow], new: Iterable[LinkRow], turned: Iterable[LinkRow]) -> dict[Key, int]:
    """Node -> the earliest evidence (µs) from which refused links at it may turn because of the new ones.

    What was decided before the earliest new link of a group of profiles stands; ``turned`` links join groups.
    """
    since: dict[UUID, int] = {}
    heads: dict[UUID, UUID] = {}

    def head(profile: UUID) -> UUID:
        while profile in heads:
            profile = heads[profile]
        return profile

    for row in (*new, *turned):
        ends = [head(nodes[end].profile_id) for end in row.link.pair if end in nodes]
        if not ends:
            continue
        into = ends[0]
        since[into] = min([row.link.moment, *(since[end] for end in ends if end in since)])
        heads.update({end: into for end in ends[1:] if end != into})
    return {
        (row.workspace_id, node): since[head(row.profile_id)]
        for node, row in nodes.items()
        if head(row.profile_id) in since
    }


def regroup(
    nodes: Mapping[UUID, NodeRow],
    loaded: Sequence[LinkRow],
    new: Sequence[LinkRow],
    guards: Guards,
    revoked: Sequence[LinkRow] = (),
) -> Regrouping:
    """Takes all links again, in the order of their evidence, for the profiles that new or revoked ones touch.

    ``loaded`` are the links that hold within the locked profiles and the refused ones that a new link could turn; a
    new row replaces a loaded one of the same nodes. Other profiles stay as they are.
    """
    profile_of = {node: row.profile_id for node, row in nodes.items()}
    rows = {row.link.pair: row for row in loaded} | {row.link.pair: row for row in new}
    turned = [row for row in rows.values() if row.status != "h"]
    touched = {profile_of[end] for row in (*new, *turned, *revoked) for end in row.link.pair if end in profile_of}
    kinds = {node: row.kind for node, row in nodes.items() if row.profile_id in touched}
    found = components(kinds, (row.link for row in rows.values()), guards)
    profile_of.update(found.profile_of)
    fresh = {row.link.pair for row in new}
    return Regrouping(
        profile_of,
        [_judged(row, found) for row in rows.values() if _is_news(row, found, fresh)],
        [row.link for row in rows.values() if row.link.pair not in found.refused],
    )


def _is_news(row: LinkRow, found: Components, fresh: set[Pair]) -> bool:
    if row.link.pair in fresh:
        return True
    return row.reason != found.refused.get(row.link.pair)


def _judged(row: LinkRow, found: Components) -> LinkRow:
    reason = found.refused.get(row.link.pair)
    return row._replace(status="h" if reason is None else "r", reason=reason)
