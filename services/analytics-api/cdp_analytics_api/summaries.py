"""An event -> one line that a marketer reads: "Bought 2 products for 249.99 USD"."""

from collections.abc import Callable, Mapping
from typing import Any, Final

Properties = Mapping[str, Any]


def summary(event: str, event_type: str, call: str, properties: Properties) -> str:
    """One sentence without personal data beyond what the properties hold; never fails on odd properties."""
    tell = _BY_TYPE.get(event_type) or _BY_CALL.get(call)
    return tell(properties) if tell else event or call


def _page(properties: Properties) -> str:
    place = _first(properties, "title", "name", "page", "path", "url")
    return f"Viewed {place}" if place else "Viewed a page"


def _product(verb: str) -> Callable[[Properties], str]:
    def tell(properties: Properties) -> str:
        product = _first(properties, "name", "productName", "product_id", "productId", "sku")
        return f"{verb} {product}" if product else f"{verb} a product"

    return tell


def _purchase(properties: Properties) -> str:
    products = properties.get("products") or properties.get("items")
    count = len(products) if isinstance(products, list) else 0
    what = f"{count} product{'' if count == 1 else 's'}" if count else "an order"
    amount = _first(properties, "total", "revenue", "amount", "value")
    currency = _first(properties, "currency")
    return " ".join(part for part in (f"Bought {what}", f"for {amount}" if amount else "", currency) if part)


def _email(verb: str) -> Callable[[Properties], str]:
    def tell(properties: Properties) -> str:
        subject = _first(properties, "subject", "email_subject", "campaign_name", "campaign")
        return f"{verb} “{subject}”" if subject else f"{verb} an email"

    return tell


def _form(properties: Properties) -> str:
    form = _first(properties, "form", "formName", "form_name", "name", "form_id", "formId")
    return f"Submitted the form {form}" if form else "Submitted a form"


def _consent(properties: Properties) -> str:
    choices = {purpose: value for purpose, value in properties.items() if isinstance(value, bool)}
    told = [f"{'allowed' if granted else 'refused'} {purpose}" for purpose, granted in sorted(choices.items())]
    return f"Consent: {', '.join(told)}" if told else "Changed consent"


def _first(properties: Properties, *names: str) -> str:
    """The first of these that is a text or a number, at most 80 characters."""
    for name in names:
        value = properties.get(name)
        if isinstance(value, str | int | float) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()[:80]
    return ""


_BY_TYPE: Final[dict[str, Callable[[Properties], str]]] = {
    "page_view": _page,
    "product_view": _product("Looked at"),
    "add_to_cart": _product("Put in the cart:"),
    "purchase": _purchase,
    "email_open": _email("Opened"),
    "email_click": _email("Clicked a link in"),
    "form_submit": _form,
}
_BY_CALL: Final[dict[str, Callable[[Properties], str]]] = {
    "identify": lambda _: "Was identified",
    "group": lambda _: "Joined a group",
    "alias": lambda _: "Got another identifier",
    "consent": _consent,
    "delete": lambda _: "Asked to be erased",
}
