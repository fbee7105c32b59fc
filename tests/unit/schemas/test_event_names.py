"""One event has one meaning, whatever an older client calls it."""

import pytest

from cdp_schemas.event_names import canonical_name, event_name, event_type, names_matching


@pytest.mark.parametrize(
    ("call", "event", "name", "kind"),
    [
        ("track", "Order Completed", "Order Completed", "purchase"),
        ("track", "Completed Order", "Completed Order", "purchase"),
        ("track", "purchase", "purchase", "purchase"),
        ("page", None, "Page Viewed", "page_view"),
        ("page", "ignored", "Page Viewed", "page_view"),
        ("screen", None, "Screen Viewed", "page_view"),
        ("track", "Button Pressed", "Button Pressed", "custom"),
        ("identify", None, "identify", "custom"),
    ],
)
def test_names_and_types(call: str, event: str | None, name: str, kind: str) -> None:
    assert (event_name(call, event), event_type(event_name(call, event))) == (name, kind)


def test_a_rule_on_a_type_and_one_on_its_name_mean_the_same_events() -> None:
    assert names_matching("purchase") == names_matching("Order Completed") == names_matching("Completed Order")
    assert set(names_matching("purchase")) == {"Order Completed", "Completed Order", "purchase"}


def test_page_and_screen_are_one_type_but_two_names() -> None:
    assert set(names_matching("page_view")) == {"Page Viewed", "Screen Viewed", "page_view"}
    assert names_matching("Screen Viewed") == ("Screen Viewed",)


def test_old_names_without_a_type_match_too() -> None:
    assert set(names_matching("Checkout Started")) == {"Checkout Started", "Started Order"}
    assert canonical_name("Removed Product") == "Product Removed"
    assert names_matching("Anything Else") == ("Anything Else",)
