"""A set of links between nodes -> which nodes are one profile; the order in which links arrived never matters."""

from collections import Counter
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass
from typing import Final, Literal, NamedTuple
from uuid import UUID

KIND_RANKS: Final[Mapping[str, int]] = {
    "user_id": 0,
    "email": 1,
    "phone": 2,
    # 3: whatever context.externalIds brings
    "anonymous_id": 4,
    "device_id": 5,
}
_OTHER_RANK: Final = 3

Refusal = Literal["two_user_ids", "kind_limit", "profile_limit"]
Pair = tuple[UUID, UUID]


class Link(NamedTuple):
    """Two nodes (``a < b``) that one event named, and the earliest event that is its evidence (``moment`` in µs)."""

    a: UUID
    b: UUID
    moment: int
    message_id: str

    @property
    def pair(self) -> Pair:
        return self.a, self.b

    @property
    def order(self) -> tuple[int, str, UUID, UUID]:
        """Links are taken in this order, however they arrived."""
        return self.moment, self.message_id, self.a, self.b


@dataclass(frozen=True, slots=True)
class Guards:
    """What a profile may hold: identifiers per kind, of any other kind, and in all; at least one each."""

    limits: Mapping[str, int]
    other_limit: int = 5
    profile_limit: int = 1000

    def limit(self, kind: str) -> int:
        return self.limits.get(kind, self.other_limit)


@dataclass(frozen=True, slots=True)
class Components:
    """``profile_of``: node -> canonical node of its component. ``refused``: links that do not hold, and why."""

    profile_of: dict[UUID, UUID]
    refused: dict[Pair, Refusal]


def link(one: UUID, other: UUID, moment: int, message_id: str) -> Link:
    """The link of two nodes, whichever comes first."""
    return Link(one, other, moment, message_id) if one < other else Link(other, one, moment, message_id)


def other_end(held: Link, node: UUID) -> UUID:
    """The node at the other end of a link."""
    return held.b if held.a == node else held.a


def rank(kind: str) -> int:
    """How strong a kind is; the smallest gives the profile its id."""
    return KIND_RANKS.get(kind, _OTHER_RANK)


def canonical(nodes: Iterable[UUID], kinds: Mapping[UUID, str]) -> UUID:
    """The node that gives the profile its id: the strongest kind, then the smallest id."""
    return min(nodes, key=lambda node: (rank(kinds[node]), node))


def components(kinds: Mapping[UUID, str], links: Iterable[Link], guards: Guards) -> Components:
    """Takes the links in the order of their evidence and refuses those that a guard forbids.

    ``kinds`` has every node; links to nodes that are not in it are left out.
    """
    group_of = {node: _Group([node], {kind: 1}) for node, kind in kinds.items()}
    refused: dict[Pair, Refusal] = {}
    for candidate in sorted(links, key=lambda one: one.order):
        one, other = group_of.get(candidate.a), group_of.get(candidate.b)
        if one is None or other is None or one is other:
            continue
        large, small = (one, other) if len(one.members) >= len(other.members) else (other, one)
        reason = _forbidden(large, small, guards)
        if reason is None:
            large.take(small)
            group_of.update(dict.fromkeys(small.members, large))
        else:
            refused[candidate.pair] = reason
    profile_of = {}
    for node, group in group_of.items():
        if group.head is None:
            group.head = canonical(group.members, kinds)
        profile_of[node] = group.head
    return Components(profile_of, refused)


def joined_at(links: Iterable[Link]) -> Callable[[UUID, UUID], int | None]:
    """When two nodes became one profile, in µs, from the links that hold; None when they are not."""
    parents: dict[UUID, tuple[UUID, int]] = {}
    sizes: Counter[UUID] = Counter()
    for held in sorted(links, key=lambda one: one.order):
        one, other = _root(parents, held.a), _root(parents, held.b)
        if one != other:
            small, large = sorted((one, other), key=lambda root: sizes[root])
            # roots are hung under roots in the order of time, so times rise on the way up
            parents[small] = (large, held.moment)
            sizes[large] += sizes[small] + 1

    def when(one: UUID, other: UUID) -> int | None:
        if one == other:
            return None
        way = dict(_way_up(parents, one))
        return next((max(way[node], at) for node, at in _way_up(parents, other) if node in way), None)

    return when


def _root(parents: Mapping[UUID, tuple[UUID, int]], node: UUID) -> UUID:
    while node in parents:
        node = parents[node][0]
    return node


def _way_up(parents: Mapping[UUID, tuple[UUID, int]], node: UUID) -> Iterable[tuple[UUID, int]]:
    at = -(2**63)
    yield node, at
    while node in parents:
        node, at = parents[node]
        yield node, at


@dataclass(slots=True)
class _Group:
    """Nodes that are one by now, and how many of each kind: within the limits, as each node is by itself."""

    members: list[UUID]
    counts: dict[str, int]
    head: UUID | None = None

    def take(self, other: "_Group") -> None:
        """Takes in all nodes of the other one."""
        self.members += other.members
        for kind, count in other.counts.items():
            self.counts[kind] = self.counts.get(kind, 0) + count


def _forbidden(large: _Group, small: _Group, guards: Guards) -> Refusal | None:
    """Why two groups cannot be one: only kinds that both have can be too many."""
    over = {kind for kind, count in small.counts.items() if large.counts.get(kind, 0) + count > guards.limit(kind)}
    if "user_id" in over:
        return "two_user_ids"
    if len(large.members) + len(small.members) > guards.profile_limit:
        return "profile_limit"
    return "kind_limit" if over else None
