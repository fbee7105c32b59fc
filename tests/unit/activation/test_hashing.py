"""Normal forms and hashes, pinned: a silent change here loses every match."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_activation.destinations import hashing


def test_the_worked_vectors_hold() -> None:
    raw = " Jane.Doe+vip@Gmail.com "
    assert hashing.email(raw) == "jane.doe+vip@gmail.com"
    assert hashing.hashed(hashing.email(raw)) == "30c26380948ff6e5804337eb91073d3e3b539dff0fd625823759a65071814074"
    phone = "(415) 555-0132"
    assert hashing.phone_digits(phone, "US") == "14155550132"
    assert hashing.phone_e164(phone, "US") == "+14155550132"
    assert (
        hashing.hashed(hashing.phone_digits(phone, "US"))
        == "11072303eb5c8cb5c5a1ebb762f11b37b07131265b46fdfe1276196bfbd3ca51"
    )
    assert (
        hashing.hashed(hashing.phone_e164(phone, "US"))
        == "9e1919ad78a34fd67a84bfbcf2fea14074065517bea32e92924771c3f92e5462"
    )


@pytest.mark.parametrize(
    ("function", "raw", "normal"),
    [
        (hashing.email, "no address", ""),
        (hashing.email, "a@b", ""),
        (hashing.email, "", ""),
        (hashing.name, "  O'Brien-Smith ", "obriensmith"),
        (hashing.name, "José  María", "josé maría"),
        (hashing.letters, "St. John's", "stjohns"),
        (hashing.country, "US", "us"),
        (hashing.country, "UK", "gb"),
        (hashing.country, "United States", ""),
    ],
)
def test_normal_forms(function, raw: str, normal: str) -> None:
    assert function(raw) == normal


@pytest.mark.parametrize("phone", ["+0000000000", "", "abc", "1", "+", "٣"])
def test_a_phone_that_is_none_is_dropped(phone: str) -> None:
    assert hashing.phone_digits(phone, "US") == "" and hashing.hashed("") == ""


def test_postal_codes_of_the_us_have_five_digits() -> None:
    assert hashing.postal_code(" 94103-1234", "us") == "94103"
    assert hashing.postal_code("SW1A 1AA", "gb") == "sw1a1aa"


@given(st.text(max_size=40))
def test_a_hash_is_never_hashed_again(text: str) -> None:
    once = hashing.hashed(text)
    assert hashing.hashed(once) == once
    for normal in (hashing.email, hashing.name, hashing.letters, hashing.country):
        assert hashing.hashed(normal(once)) == once


@given(st.text(max_size=60))
def test_normal_forms_do_not_change_when_normalised_again(text: str) -> None:
    for normal in (hashing.email, hashing.name, hashing.letters, hashing.country):
        if not hashing.is_hash(text):
            assert normal(normal(text)) == normal(text)
