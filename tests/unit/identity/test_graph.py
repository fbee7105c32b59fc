"""Which links hold depends on the set of links alone."""

from random import Random
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cdp_identity.graph import Components, Guards, Link, canonical, components, joined_at, link

GUARDS = Guards({"user_id": 1, "email": 2, "device_id": 3, "anonymous_id": 4}, other_limit=2, profile_limit=8)
KINDS = ["user_id", "email", "device_id", "anonymous_id", "crm"]


def node(number: int) -> UUID:
    return UUID(int=number + 1)


NODES = {node(number): KINDS[number % len(KINDS)] for number in range(15)}
links = st.lists(
    st.builds(
        lambda pair, moment, name: link(node(pair[0]), node(pair[1]), moment, name),
        st.tuples(st.integers(0, 14), st.integers(0, 14)).filter(lambda pair: pair[0] != pair[1]),
        st.integers(0, 20),
        st.sampled_from("abc"),
    ),
    max_size=40,
    unique_by=lambda one: one.pair,
)


@given(links, st.randoms())
def test_the_order_of_arrival_does_not_matter(given_links: list[Link], random: Random) -> None:
    shuffled = list(given_links)
    random.shuffle(shuffled)
    assert components(NODES, given_links, GUARDS) == components(NODES, shuffled, GUARDS)


@given(links)
def test_every_profile_stays_within_the_guards_and_is_named_by_its_canonical_node(given_links: list[Link]) -> None:
    found = components(NODES, given_links, GUARDS)
    for profile in set(found.profile_of.values()):
        members = [one for one, of in found.profile_of.items() if of == profile]
        assert len(members) <= 8
        assert profile == canonical(members, NODES)
        for kind in KINDS:
            assert sum(NODES[one] == kind for one in members) <= GUARDS.limit(kind)


@given(links)
def test_a_link_holds_exactly_when_its_ends_are_one_profile(given_links: list[Link]) -> None:
    found = components(NODES, given_links, GUARDS)
    for one in given_links:
        together = found.profile_of[one.a] == found.profile_of[one.b]
        # a refused link's ends may have been joined by a later one only if that broke no guard: then it held all along
        assert together or one.pair in found.refused
        assert one.pair not in found.refused or not together


@given(links, st.data())
def test_unlinking_restores_exactly(given_links: list[Link], data: st.DataObject) -> None:
    if not given_links:
        return
    extra = data.draw(st.sampled_from(given_links))
    without = [one for one in given_links if one != extra]
    before = components(NODES, without, GUARDS)
    assert components(NODES, [*without, extra], GUARDS) == components(NODES, given_links, GUARDS)
    assert components(NODES, [one for one in given_links if one.pair != extra.pair], GUARDS) == before


@given(links, links)
def test_what_was_decided_before_the_earliest_new_link_stands(old: list[Link], new: list[Link]) -> None:
    """The reason why only refused links with later evidence are read again."""
    known = {one.pair for one in old}
    fresh = [one for one in new if one.pair not in known]
    if not fresh:
        return
    earliest = min(one.moment for one in fresh)
    before, after = components(NODES, old, GUARDS), components(NODES, [*old, *fresh], GUARDS)
    for one in old:
        if one.moment < earliest:
            assert (one.pair in before.refused) == (one.pair in after.refused)


@given(links)
def test_each_link_is_judged_by_all_nodes_that_it_would_join(given_links: list[Link]) -> None:
    """Counted anew each time, which is slower and plain to see."""
    groups = {one: {one} for one in NODES}
    refused: dict[tuple[UUID, UUID], str] = {}
    for one in sorted(given_links, key=lambda one: one.order):
        together = groups[one.a] | groups[one.b]
        kinds = [NODES[member] for member in together]
        if kinds.count("user_id") > 1:
            refused[one.pair] = "two_user_ids"
        elif len(together) > GUARDS.profile_limit:
            refused[one.pair] = "profile_limit"
        elif any(kinds.count(kind) > GUARDS.limit(kind) for kind in kinds):
            refused[one.pair] = "kind_limit"
        else:
            groups |= dict.fromkeys(together, together)
    found = components(NODES, given_links, GUARDS)
    assert found.refused == refused
    assert found.profile_of == {one: canonical(group, NODES) for one, group in groups.items()}


def test_links_to_nodes_that_are_not_there_are_left_out() -> None:
    nobody = link(node(0), UUID(int=99), 1, "a")
    assert components({node(0): "user_id"}, [nobody], GUARDS) == Components({node(0): node(0)}, {})


def test_two_known_people_are_never_joined_through_a_device() -> None:
    ada, bob, phone = node(0), node(5), node(2)
    found = components(NODES, [link(bob, phone, 2, "m2"), link(ada, phone, 1, "m1")], GUARDS)
    assert found.profile_of[phone] == ada and found.profile_of[bob] == bob
    assert list(found.refused.values()) == ["two_user_ids"]


def test_when_two_nodes_became_one_profile_is_the_time_of_the_weakest_link_between_them() -> None:
    a, b, c, d = (node(number) for number in range(4))
    when = joined_at([link(a, b, 5, "x"), link(b, c, 9, "y"), link(a, c, 12, "z")])
    assert (when(a, b), when(a, c), when(b, c), when(a, d)) == (5, 9, 9, None)
