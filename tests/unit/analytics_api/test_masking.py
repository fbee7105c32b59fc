"""Personal values are hidden wherever they are, and nothing else is."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_analytics_api.masking import masked


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        ({"email": "a@b.co", "plan": "pro"}, {"email": "***", "plan": "pro"}),
        ({"First-Name": "Ada", "last_name": "L"}, {"First-Name": "***", "last_name": "***"}),
        ({"note": "write to ada@example.com"}, {"note": "***"}),
        ({"items": [{"address": {"street": "x"}}]}, {"items": [{"address": "***"}]}),
        ({"email": None, "phone": ""}, {"email": None, "phone": ""}),
        ({"total": 5, "ip": "10.0.0.1"}, {"total": 5, "ip": "***"}),
    ],
)
def test_what_is_hidden(value: dict[str, Any], shown: dict[str, Any]) -> None:
    assert masked(value) == shown


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.sampled_from(["email", "a", "b", "Phone Number"]), inner),
)


@given(json_values)
def test_no_address_gets_through_and_masking_twice_changes_nothing(value: Any) -> None:
    once = masked({"x": [value, "ada@example.com"]})
    assert "ada@example.com" not in str(once)
    assert masked(once) == once
