"""Identifiers have one spelling, and values that mean nobody are none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_identity import identifiers
from cdp_identity.identifiers import (
    BLOCKED,
    Spelling,
    canonical_kind,
    external_ids,
    identifier,
    is_blocked,
    normalise,
)

US = Spelling()


DOMAINS = ["x.com", "example.org", "EXAMPLE.com", "a.b.co.uk", "bücher.de", "xn--bcher-kva.de", "x.test", "x.com.", ""]
NO_DOMAINS = ["localhost", "x.invalid", "x.local", "1.2.3.4", "[1.2.3.4]", "-x.com", "x..com", "x_y.com", "x.com>", "x"]
LOCALS = st.one_of(st.text("ab0._+-A", min_size=0, max_size=70), st.text(max_size=8))


@given(LOCALS, st.sampled_from([*DOMAINS, *NO_DOMAINS, "a" * 63 + ".com", ".".join(["a" * 60] * 4) + ".com"]))
def test_an_address_whose_domain_is_known_is_read_as_every_other(local: str, domain: str) -> None:
    text = f"{local}@{domain}".strip()
    blocked = is_blocked(text, US)
    assert normalise("email", text, US) == (None if blocked else identifiers._validated(text.lower()))


@pytest.mark.parametrize(
    ("kind", "value", "spelled"),
    [
        ("email", "  Ada@Example.ORG ", "ada@example.org"),
        ("email", "ada", None),
        ("email", "ada@@example.org", None),
        ("email", "test@example.com", None),
        ("phone", "(415) 555-2671", "+14155552671"),
        ("phone", "+44 20 7946 0958", "+442079460958"),
        ("phone", "12", None),
        ("phone", "call me", None),
        ("user_id", " 007 ", "007"),
        ("user_id", 42, "42"),
        ("user_id", True, None),
        ("user_id", "", None),
        ("user_id", "NULL", None),
        ("user_id", "undefined", None),
        ("user_id", "0", None),
        ("user_id", "x" * 513, None),
        ("device_id", "00000000-0000-0000-0000-000000000000", None),
        ("device_id", "9774d56d682e549c", None),
        ("anonymous_id", "a0", "a0"),
    ],
)
def test_a_value_has_one_spelling_or_is_none(kind: str, value: object, spelled: str | None) -> None:
    assert normalise(kind, value, US) == spelled


def test_a_phone_without_a_country_belongs_to_the_region_of_the_settings() -> None:
    assert normalise("phone", "020 7946 0958", Spelling("GB")) == "+442079460958"


def test_further_values_can_be_blocked() -> None:
    assert normalise("user_id", "Kiosk", Spelling("US", BLOCKED | {"kiosk"})) is None


def test_a_node_is_its_identifier_in_its_workspace() -> None:
    here, there = identifier("a", "user_id", "ada", US), identifier("b", "user_id", "ada", US)
    assert here and there and here.node_id != there.node_id
    assert identifier("a", "user_id", " ada", US) == here
    assert identifier("a", "anonymous_id", "ada", US) != here


def test_external_ids_bring_their_kinds() -> None:
    entries = [
        {"id": "c1", "type": "CRM_id", "collection": "users", "encoding": "none"},
        {"id": "abc", "type": "email", "encoding": "sha256"},
        {"id": "g1", "type": "group", "collection": "accounts"},
        {"id": "x", "type": "no kind!"},
        {"id": "x", "type": "email", "encoding": "of a length " * 1000},
        {"id": "x", "type": "profile_id"},
        "nonsense",
    ]
    assert list(external_ids(entries)) == [("crm_id", "c1"), ("email.sha256", "abc")]
    assert list(external_ids({"id": 1})) == []


def test_the_spelling_of_kinds_in_references() -> None:
    assert (canonical_kind("userId"), canonical_kind("email"), canonical_kind("a b")) == ("user_id", "email", None)


def test_what_is_too_long_is_not_remembered() -> None:
    before = identifiers._identifier.cache_info().currsize
    assert [identifier("demo", "email", f"{n}@shop.io{'x' * 30_000}", US) for n in range(3)] == [None] * 3
    assert identifiers._identifier.cache_info().currsize == before
    padded = identifier("demo", "user_id", f"ada{' ' * 30_000}", US)
    assert padded == identifier("demo", "user_id", "ada", US)
