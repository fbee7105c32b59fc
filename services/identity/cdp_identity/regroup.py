"""Locked nodes, their links and the new ones -> which profile each node belongs to now, and which links hold."""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from uuid import UUID

from cdp_identity.graph import Components, Guards, Link, Pair, Refusal, components
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
        (row.workspace_id, node): at
        for node, row in nodes.items()
        if (at := since.get(head(row.profile_id))) is not None
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
    known = {row.link.pair: row for row in loaded}
    for row in new:
        known.pop(row.link.pair, None)
    rows = [*known.values(), *new]
    turned = [row for row in rows if row.status != "h"]
    touched = {profile_of[end] for row in (*new, *turned, *revoked) for end in row.link.pair if end in profile_of}
    kinds = {node: row.kind for node, row in nodes.items() if row.profile_id in touched}
    found = components(kinds, (row.link for row in rows), guards)
    profile_of.update(found.profile_of)
    changed = [*new, *(row for row in known.values() if row.reason != _reason(row, found))]
    held = [row.link for row in rows if _reason(row, found) is None]
    return Regrouping(profile_of, [_judged(row, found) for row in changed], held)


def _reason(row: LinkRow, found: Components) -> Refusal | None:
    # mostly nothing is refused, and to ask for a pair is to hash two ids
    return found.refused.get(row.link.pair) if found.refused else None


def _judged(row: LinkRow, found: Components) -> LinkRow:
    reason = _reason(row, found)
    return row._replace(status="h" if reason is None else "r", reason=reason)
