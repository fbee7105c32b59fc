"""Personal values are hidden wherever they are, and nothing else is."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_analytics_api.masking import masked, masked_sentence, masked_text


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"email": "a@b.co", "plan": "pro"}, {"email": "***", "plan": "pro"}),
        ({"First-Name": "Ada", "last_name": "L"}, {"First-Name": "***", "last_name": "***"}),
        ({"note": "write to ada@example.com"}, {"note": "***"}),
        ({"items": [{"address": {"street": "x"}}]}, {"items": [{"address": "***"}]}),
        ({"email": None, "phone": ""}, {"email": None, "phone": ""}),
        ({"invited": {"ada@example.com": 1, "x": 2}}, {"invited": {"***": 1, "x": 2}}),
        ({"url": "https://x.example/?to=ada%40example.com&a=1"}, {"url": "***"}),
        ({"url": "https://x.example/?handle=%40ada"}, {"url": "https://x.example/?handle=%40ada"}),
        ({"total": 5, "ip": "10.0.0.1"}, {"total": 5, "ip": "***"}),
    ],
)
def test_what_is_hidden(value: dict[str, Any], shown: dict[str, Any]) -> None:
    assert masked(value) == shown


@pytest.mark.parametrize(
    ("keys", "text", "shown"),
    [
        (["email"], "nobody", "***"),
        (["address", "country"], "DE", "***"),
        (["email"], "", ""),
        (["ref"], "ada@example.com", "***"),
        (["buyer"], '{"phone":"+1 555","plan":"pro"}', '{"phone":"***","plan":"pro"}'),
        (["plan"], "pro", "pro"),
        (["price"], "1.50", "1.50"),
    ],
)
def test_what_is_hidden_of_a_text(keys: list[str], text: str, shown: str) -> None:
    assert masked_text(keys, text) == shown


@pytest.mark.parametrize("part", ["a", "a@", "@", "a%40", ".", "a.", "'", '"', "\\"])
@pytest.mark.parametrize("head", ["", "a@", "a%40", "'"])
def test_a_long_value_is_looked_through_once(head: str, part: str) -> None:
    """An event may have 32 kB: at its square one page of events held up the whole process for minutes."""
    text = head + part * 100_000
    began = time.monotonic()
    masked({"x": text})
    masked_sentence(text)
    assert time.monotonic() - began < 2


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["email", "a", "b", "Phone Number"]), inner),
)


@given(json_values)
def test_no_address_gets_through_and_masking_twice_changes_nothing(value: Any) -> None:
    once = masked({"x": [value, "ada@example.com"]})
    assert "ada@example.com" not in str(once)
    assert masked(once) == once


@pytest.mark.parametrize(
    ("sentence", "shown"),
    [
        ("It has 40112 bytes, the limit is 32768.", "It has 40112 bytes, the limit is 32768."),
        ("The event's type is no call. It is 'ada'; use alias.", "The event's type is no call. It is ***; use alias."),
        ("There is no profile 'phone:+15551234567'. A device", "There is no profile ***. A device"),
        ("There is no profile 'name:" + "x" * 80 + ". A device", "There is no profile ***"),
        ("Object contains unknown field `ada@example.com`.", "Object contains unknown field ***"),
        ('invalid input syntax: "Ada"\nCONTEXT:  JSON data, line 1: {"name": Ada', "invalid input syntax: ***"),
    ],
)  # fmt: skip
def test_a_sentence_keeps_its_own_words_only(sentence: str, shown: str) -> None:
    assert masked_sentence(sentence) == shown


@given(st.text())
def test_no_value_that_a_sentence_quotes_gets_through(value: str) -> None:
    assert masked_sentence(f"There is no profile {value!r}. Its fault.") == "There is no profile ***. Its fault."
    assert masked_sentence(f"There is no profile {value + 'x' * 120!r:.120}. Its fault.").startswith(
        "There is no profile ***"
    )
