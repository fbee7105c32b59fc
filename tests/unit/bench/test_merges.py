"""The people of P8 -> profiles to merge and profiles merged, by the product's own graph and its own limits."""

from collections.abc import Iterable
from typing import Any

import pytest
from bench.merges import MERGES, MOST, PROFILES, Crowd

from cdp_identity.batch import gather, read_records
from cdp_identity.graph import Components, components
from cdp_identity.settings import IdentitySettings
from cdp_identity.statements import Reading
from tests.unit.identity.received import event, record

NAMES = {"userId": "user_id", "anonymousId": "anonymous_id", "messageId": "message_id"}


def resolved(events: Iterable[dict[str, Any]]) -> Components:
    """The profiles that these events make, one after the other."""
    records = [
        record(event(one.pop("type"), number, **{NAMES.get(name, name): value for name, value in one.items()}), number)
        for number, one in enumerate(events)
    ]
    items = read_records(records, Reading())
    assert {item.outcome for item in items} == {"stored"}
    said = gather(items)
    kinds = {node: mention.identifier.kind for node, mention in said.mentions.items()}
    return components(kinds, [row.link for row in said.links.values()], IdentitySettings().guards())


def profiles(found: Components) -> int:
    return len(set(found.profile_of.values()))


@pytest.mark.parametrize("crowd", [Crowd("pairs", 30, 1), Crowd("hot", 2, MOST)])
def test_each_login_makes_one_profile_of_two(crowd: Crowd) -> None:
    before, after = resolved(crowd.histories()), resolved([*crowd.histories(), *crowd.logins()])
    assert profiles(before) == crowd.people + crowd.merges
    assert profiles(after) == crowd.people
    assert not before.refused and not after.refused


def test_a_pair_has_the_identifiers_that_the_row_says() -> None:
    pair = Crowd("pair", 1, 1)
    assert len(resolved([*pair.histories(), *pair.logins()]).profile_of) == 8


def test_the_hot_profile_grows_as_far_as_it_may() -> None:
    crowd = Crowd("hot", 1, MOST + 1)
    assert set(resolved([*crowd.histories(), *crowd.logins()]).refused.values()) == {"kind_limit"}


def test_both_rows_are_of_as_many_merges() -> None:
    assert Crowd("pairs", MERGES, 1).merges == Crowd("hot", PROFILES, MOST).merges == len(list(_logins()))


def test_one_profile_is_whole_before_the_next_begins() -> None:
    users = [login["userId"] for login in _logins()]
    assert users == sorted(users, key=lambda user: int(user.rpartition("-")[2]))


def test_nobody_says_two_things_under_one_id() -> None:
    crowd = Crowd("hot", 3, 4)
    ids = [one["messageId"] for one in (*crowd.histories(), *crowd.logins())]
    assert len(set(ids)) == len(ids)


def _logins() -> Iterable[dict[str, Any]]:
    return Crowd("hot", PROFILES, MOST).logins()
