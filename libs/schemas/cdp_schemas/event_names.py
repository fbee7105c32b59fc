"""Event names <-> the seed's event types: which names count as a purchase, a page view, and so on."""

from typing import Final

CALL_EVENTS: Final = {
    "page": "Page Viewed",
    "screen": "Screen Viewed",
    "identify": "identify",
    "group": "group",
    "alias": "alias",
    "consent": "Consent Updated",
    "delete": "Profile Deleted",
}

# type -> names, the canonical one first; then those of Segment's first e-commerce spec and of other vendors, and the
# type's own, as GA4 has it
TYPE_NAMES: Final[dict[str, tuple[str, ...]]] = {
    "page_view": ("Page Viewed", "Screen Viewed", "page_view"),
    "product_view": ("Product Viewed", "Viewed Product", "product_view"),
    "add_to_cart": ("Product Added", "Added Product", "Wishlist Product Added to Cart", "add_to_cart"),
    "purchase": ("Order Completed", "Completed Order", "purchase"),
    "email_open": ("Email Opened", "email_open"),
    "email_click": ("Email Link Clicked", "email_click"),
    "form_submit": ("Form Submitted", "Lead Form Submitted", "form_submit"),
}

# canonical name -> older names of the same event, where no type of its own exists
ALIASES: Final[dict[str, tuple[str, ...]]] = {
    "Product Removed": ("Removed Product",),
    "Product Clicked": ("Clicked Product",),
    "Product List Viewed": ("Viewed Product Category",),
    "Promotion Viewed": ("Viewed Promotion",),
    "Promotion Clicked": ("Clicked Promotion",),
    "Checkout Started": ("Started Order",),
    "Checkout Step Viewed": ("Viewed Checkout Step",),
    "Checkout Step Completed": ("Completed Checkout Step",),
    "Order Updated": ("Updated Order",),
}

_TYPE_OF: Final = {name: kind for kind, names in TYPE_NAMES.items() for name in names}
_CANONICAL: Final = {
    **{name: names[0] for kind, names in TYPE_NAMES.items() if kind != "page_view" for name in names},
    **{old: name for name, olds in ALIASES.items() for old in olds},
}


def event_name(call: str, event: str | None) -> str:
    """The name an event is stored and counted under: its own, or its call's where it has none."""
    return event if call == "track" and event else CALL_EVENTS.get(call, event or "")


def event_type(name: str) -> str:
    """The seed's type of an event name; ``custom`` for everything without one."""
    return _TYPE_OF.get(name, "custom")


def canonical_name(name: str) -> str:
    """The current name of an event that older clients call otherwise."""
    return _CANONICAL.get(name, name)


def names_matching(name_or_type: str) -> tuple[str, ...]:
    """Every stored name that a rule or a funnel step means by this name or type, the canonical one first."""
    if name_or_type in TYPE_NAMES:
        return TYPE_NAMES[name_or_type]
    canonical = canonical_name(name_or_type)
    kind = _TYPE_OF.get(canonical)
    if kind is not None and kind != "page_view":
        return TYPE_NAMES[kind]
    return (canonical, *ALIASES.get(canonical, ()))
