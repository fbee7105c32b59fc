"""What an event states: whose it is, who that is, and what of it counts."""

from typing import Any

import pytest

from cdp_identity.statements import Reading, Statement, Unusable, read
from cdp_identity.traits import EXPLICIT
from cdp_schemas.profiles import profile_ref

from .received import event

READING = Reading()


def stated(kind: str = "track", **fields: Any) -> Statement:
    return read(event(kind, **fields), READING)


def named(statement: Statement) -> list[tuple[str, str]]:
    return [(one.kind, one.value) for one in statement.identifiers]


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"user_id": "ada", "anonymous_id": "a1"}, [("user_id", "ada"), ("anonymous_id", "a1")]),
        ({"user_id": "null", "anonymous_id": "a1"}, [("anonymous_id", "a1")]),
        (
            {"anonymous_id": "a1", "context": {"traits": {"email": "A@b.io"}, "device": {"id": "d1"}}},
            [("anonymous_id", "a1"), ("email", "a@b.io"), ("device_id", "d1")],
        ),
        (
            {"context": {"traits": {"email": "a@b.io", "phone": "+14155552671"}}, "device_id": "d1"},
            [("email", "a@b.io"), ("phone", "+14155552671"), ("device_id", "d1")],
        ),
        (
            {"anonymous_id": "a1", "context": {"externalIds": [{"id": "c9", "type": "crm", "collection": "users"}]}},
            [("anonymous_id", "a1"), ("crm", "c9")],
        ),
        (
            {"anonymous_id": "a1", "context": {"traits": "odd", "device": "iPhone", "externalIds": 3}},
            [("anonymous_id", "a1")],
        ),
    ],
)
def test_the_node_an_event_stays_with_comes_first(fields: dict[str, Any], expected: list) -> None:
    assert named(stated(**fields)) == expected


def test_an_alias_names_the_id_from_before() -> None:
    assert named(stated("alias", user_id="ada", previous_id="a1")) == [("user_id", "ada"), ("anonymous_id", "a1")]


def test_a_groups_email_is_nobodys() -> None:
    said = stated("group", user_id="ada", group_id="g", traits={"email": "office@firm.io", "name": "Firm"})
    assert named(said) == [("user_id", "ada")] and said.traits == {}


def test_a_profile_id_addresses_its_node() -> None:
    node = stated(user_id="ada").node
    said = stated(profile_id=profile_ref(node), anonymous_id="a1")
    assert said.node == node


def test_what_the_api_says_of_a_profile_stays_with_that_profile() -> None:
    node = stated(user_id="ada").node
    said = stated("identify", profile_id=profile_ref(node), user_id="bob", channel="api", traits={"plan": "pro"})
    assert said.node == node and ("user_id", "bob") in named(said)
    assert stated("identify", profile_id=profile_ref(node), user_id="bob").node != node


@pytest.mark.parametrize("channel", ["api", "client"])
def test_a_profile_id_beside_the_identifier_that_it_is_names_nobody_else(channel: str) -> None:
    ada = stated(user_id="ada").node
    said = stated(profile_id=profile_ref(ada), user_id="ada", anonymous_id="a1", channel=channel)
    assert named(said) == [("user_id", "ada"), ("anonymous_id", "a1")]
    mail = {"context": {"traits": {"email": "ada@shop.io"}}}
    said = stated(profile_id=profile_ref(stated(**mail).node), user_id="ada", channel=channel, **mail)
    expected = [("email", "ada@shop.io"), ("user_id", "ada")]
    assert named(said) == (expected if channel == "api" else expected[::-1])


@pytest.mark.parametrize(
    ("fields", "reason", "path"),
    [
        ({}, "no_identifier", "userId"),
        ({"anonymous_id": "undefined"}, "no_identifier", "userId"),
        ({"profile_id": "profile-x"}, "bad_profile_id", "profileId"),
        ({"kind": "consent", "user_id": "ada", "properties": {"email": "yes"}}, "bad_consent", "properties.email"),
    ],
)
def test_what_can_never_be_resolved_says_why_and_where(fields: dict[str, Any], reason: str, path: str) -> None:
    with pytest.raises(Unusable) as raised:
        stated(**fields)
    assert (raised.value.reason, raised.value.path) == (reason, path)


def test_traits_are_stated_by_identify_alone() -> None:
    assert stated("identify", user_id="ada", traits={"plan": "pro"}).traits == {"plan": "pro"}
    rudder = stated("identify", user_id="ada", context={"traits": {"plan": "pro", "a": 1}}, traits={"a": 2})
    assert rudder.traits == {"plan": "pro", "a": 2}
    assert stated(user_id="ada", context={"traits": {"plan": "pro"}}).traits == {}


def test_consent_is_read_from_segments_and_rudderstacks_places_and_denial_wins() -> None:
    context = {
        "consent": {"categoryPreferences": {"ads": True, "email": True, "odd": "yes"}},
        "consentManagement": {"allowedConsentIds": ["sms"], "deniedConsentIds": ["ads"]},
    }
    assert stated(user_id="ada", context=context).consent == {"ads": False, "email": True, "sms": True}


def test_an_emitter_is_one_device_of_one_source_and_the_api_means_every_word() -> None:
    emitters = [
        stated(user_id="ada", anonymous_id="a1").emitter,
        stated(user_id="bob", anonymous_id="a1").emitter,
        stated(user_id="ada", anonymous_id="a2").emitter,
        stated(user_id="ada", anonymous_id="a1", source_id="app").emitter,
        stated(user_id="ada").emitter,
    ]
    assert emitters[0] == emitters[1] and len(set(emitters)) == 4
    assert stated(user_id="ada", channel="api").emitter == EXPLICIT


def test_what_is_tracked_as_a_purchase_is_an_order() -> None:
    ga4 = {"transaction_id": "T-1", "value": 25, "currency": "EUR"}
    said = stated(user_id="ada", event="purchase", properties=ga4).order
    assert said is not None and said.order_id == "T-1" and said.order.price is not None
    assert (said.order.price.minor, said.order.price.currency) == (2500, "EUR")


def test_an_order_without_an_id_is_known_by_its_message() -> None:
    said = stated(user_id="ada", event="Completed Order", properties={"revenue": 3}).order
    assert said is not None and said.order_id == "m1"
    assert stated(user_id="ada", event="Order Refunded", properties={}).order is None
    assert stated(user_id="ada", event="Product Viewed", properties={"order_id": "o"}).order is None
