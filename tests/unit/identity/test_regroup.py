"""Looking only at what a new link can turn gives what looking at all links gives."""

from uuid import UUID

from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_identity.graph import Guards, Link, components, link, other_end
from cdp_identity.regroup import earliest, reach, regroup
from cdp_identity.rows import LinkRow, NodeRow

GUARDS = Guards({"user_id": 1, "email": 2, "device_id": 2, "anonymous_id": 3}, other_limit=1, profile_limit=6)
KINDS = ["user_id", "email", "device_id", "anonymous_id", "crm"]
NODES = {UUID(int=number + 1): KINDS[number % len(KINDS)] for number in range(15)}
ENDS = st.lists(st.sampled_from(sorted(NODES)), min_size=2, max_size=2, unique=True)
LINKS = st.lists(
    st.builds(lambda pair, at, name: link(*pair, at, name), ENDS, st.integers(0, 9), st.sampled_from("ab"))
)


class Kept:
    """What the store keeps, and the reads of the resolver over it."""

    def __init__(self) -> None:
        self.profile_of = {node: node for node in NODES}
        self.rows: dict[tuple[UUID, UUID], LinkRow] = {}

    def add(self, links: list[Link]) -> None:
        said: dict[tuple[UUID, UUID], LinkRow] = {}
        for one in links:
            old = said.get(one.pair)
            if old is None or one.order < old.link.order:
                said[one.pair] = LinkRow("demo", one, "h", "web")
        new = earliest(self.rows, said.values())
        self._regroup(new, [])

    def revoke(self, pair: tuple[UUID, UUID]) -> None:
        row = self.rows[pair] = self.rows[pair]._replace(status="v", reason="revoked")
        self._regroup([], [row])

    def _regroup(self, new: list[LinkRow], revoked: list[LinkRow]) -> None:
        locked = {self.profile_of[end] for row in (*new, *revoked) for end in row.link.pair}
        while True:
            nodes = self._nodes(locked)
            turned: dict[tuple[UUID, UUID], LinkRow] = {}
            while True:
                since = {key[1]: at for key, at in reach(nodes, (*new, *revoked), turned.values()).items()}
                rows = {row.link.pair: row for row in self._open(since)}
                if rows.keys() <= turned.keys():
                    break
                turned |= {pair: row for pair, row in rows.items() if set(pair) <= nodes.keys()}
                if not all(set(pair) <= nodes.keys() for pair in rows):
                    break
            far = {
                self.profile_of[other_end(row.link, end)]
                for row in rows.values()
                for end in row.link.pair
                if end in nodes
            }
            if far <= locked:
                break
            locked |= far
        held = [row for row in self.rows.values() if row.status == "h" and row.link.a in nodes]
        found = regroup(nodes, [*held, *turned.values()], new, GUARDS, revoked)
        self.profile_of.update(found.profile_of)
        self.rows.update({row.link.pair: row for row in found.links})

    def _nodes(self, profiles: set[UUID]) -> dict[UUID, NodeRow]:
        return {
            node: NodeRow("demo", node, profile, NODES[node], str(node), 0, 0, None, None)
            for node, profile in self.profile_of.items()
            if profile in profiles
        }

    def _open(self, since: dict[UUID, int]) -> list[LinkRow]:
        return [
            row
            for row in self.rows.values()
            if row.status == "r" and any(end in since and row.link.moment >= since[end] for end in row.link.pair)
        ]


def same_as_from_scratch(kept: Kept) -> None:
    standing = [row.link for row in kept.rows.values() if row.status != "v"]
    expected = components(NODES, standing, GUARDS)
    assert kept.profile_of == expected.profile_of
    assert {pair: row.reason for pair, row in kept.rows.items() if row.status == "r"} == expected.refused


@settings(max_examples=300)
@given(st.lists(LINKS, max_size=12))
def test_link_by_link_is_the_same_as_all_at_once(batches: list[list[Link]]) -> None:
    kept = Kept()
    for links in batches:
        kept.add(links)
        same_as_from_scratch(kept)


@settings(max_examples=200)
@given(LINKS, st.data())
def test_a_revoked_link_leaves_what_was_without_it(links: list[Link], data: st.DataObject) -> None:
    kept = Kept()
    kept.add(links)
    held = sorted(pair for pair, row in kept.rows.items() if row.status == "h")
    if held:
        kept.revoke(data.draw(st.sampled_from(held)))
        same_as_from_scratch(kept)
