"""Events as sentences; no property, however odd, breaks one."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_analytics_api.summaries import summary

ORDER = {"products": [{}], "total": 5, "currency": "USD"}


@pytest.mark.parametrize(
    ("event", "kind", "call", "properties", "text"),
    [
        ("Page Viewed", "page_view", "page", {"title": "Home", "path": "/"}, "Viewed Home"),
        ("Page Viewed", "page_view", "page", {}, "Viewed a page"),
        ("Product Viewed", "product_view", "track", {"product_id": "SKU-1"}, "Looked at SKU-1"),
        (
            "Order Completed",
            "purchase",
            "track",
            {"products": [{}], "total": 5, "currency": "USD"},
            "Bought 1 product for 5 USD",
        ),
        ("Order Completed", "purchase", "track", {"amount": 249.99}, "Bought an order for 249.99"),
        ("Email Opened", "email_open", "track", {"subject": "Hi"}, "Opened “Hi”"),
        ("Consent Updated", "consent", "consent", {"email": True, "sms": False}, "Consent: allowed email, refused sms"),
        ("identify", "identify", "identify", {}, "Was identified"),
        ("Chair Sat On", "custom", "track", {"legs": 4}, "Chair Sat On"),
    ],
)
def test_sentences(event: str, kind: str, call: str, properties: dict[str, Any], text: str) -> None:
    assert summary(event, kind, call, properties) == text


odd = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(), inner, max_size=3),
)
names = st.sampled_from(["name", "title", "products", "total", "currency", "subject", "form", "email"])


@given(
    st.sampled_from(["page_view", "product_view", "purchase", "email_open", "form_submit", "consent", "custom"]),
    st.dictionaries(names, odd),
)
def test_odd_properties_break_nothing(kind: str, properties: dict[str, Any]) -> None:
    assert summary("Something", kind, "consent" if kind == "consent" else "track", properties)
