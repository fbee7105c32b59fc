"""Events about orders -> facts -> the state of each order; joining facts in any order, any number of times, is exact.

Money is integer minor units of the order's currency. An order counts once, however many events and nodes speak of it.
"""

from collections.abc import Mapping
from decimal import Decimal
from typing import Any, Final, Literal, NamedTuple
from uuid import UUID

import msgspec
from msgspec.structs import replace

from cdp_schemas.event_names import canonical_name, event_type
from cdp_schemas.money import to_minor

FactKind = Literal["placed", "updated", "refunded", "cancelled"]
_KINDS: Final[Mapping[str, FactKind]] = {
    "Order Updated": "updated",
    "Order Refunded": "refunded",
    "Order Cancelled": "cancelled",
}
# an order's id: of Segment's spec, then GA4's
_IDS: Final = ("order_id", "orderId", "checkout_id", "checkoutId", "transaction_id", "transactionId")
_AMOUNTS: Final = ("revenue", "subtotal", "total", "value", "amount")
_UNKNOWN: Final = "unknown"
_NOTHING: Final = "0"
_FINEST: Final = "KWD"  # what fits in its minor units fits in every currency's
_NO_FACT: Final = 100  # a refund names an owner only until an order event does
NEVER: Final = -(2**63)


class Place(NamedTuple):
    """Where and when a fact was said: rank of its node, µs, message, node. The smallest owns the order."""

    rank: int
    moment: int
    message_id: str
    node: UUID


class Price(NamedTuple):
    """What an order costs, said by one event. ``basis`` names the property the amount was read from, if any."""

    moment: int
    message_id: str
    currency: str
    minor: int
    basis: str

    @property
    def order(self) -> tuple[bool, "Price"]:
        """The latest price holds; an event that tells none takes nothing back."""
        return self.basis != _UNKNOWN, self


class Refund(NamedTuple):
    """One refund in the major unit, as text; no ``amount`` means all that is left, no ``currency`` the order's own."""

    amount: str | None
    currency: str | None

    def minor(self, order_currency: str) -> int | None:
        """Minor units of the order's currency, None for all; a refund in another currency counts nothing here."""
        if self.amount is None:
            return None
        # earlier releases kept the sum of products with negative prices as it was
        return abs(to_minor(self.amount, order_currency)) if self.currency in (None, order_currency) else 0


class Order(msgspec.Struct, array_like=True, frozen=True):
    """All that is known of one order. ``refunds``: message id -> refund."""

    owner: Place
    price: Price | None = None
    placed_at: int | None = None
    completed_at: int = NEVER
    cancelled_at: int = NEVER
    refunds: dict[str, Refund] = msgspec.field(default_factory=dict)

    def join(self, other: "Order") -> "Order":
        placed = [at for at in (self.placed_at, other.placed_at) if at is not None]
        prices = [price for price in (self.price, other.price) if price is not None]
        return Order(
            min(self.owner, other.owner),
            max(prices, key=lambda price: price.order, default=None),
            min(placed, default=None),
            max(self.completed_at, other.completed_at),
            max(self.cancelled_at, other.cancelled_at),
            {**other.refunds, **self.refunds},
        )

    def total(self) -> "Total | None":
        """What the order brings; None for one that is cancelled or that nobody placed yet."""
        if self.price is None or self.placed_at is None or self.cancelled_at > self.completed_at:
            return None
        asked = [refund.minor(self.price.currency) for refund in self.refunds.values()]
        refunded = self.price.minor if None in asked else min(self.price.minor, sum(filter(None, asked)))
        return Total(self.price.currency, self.price.minor - refunded, refunded, self.placed_at)


class Total(NamedTuple):
    """Minor units that one order brings after refunds, and when it was placed (µs)."""

    currency: str
    net: int
    refunded: int
    placed_at: int


class OrderEvent(NamedTuple):
    """One fact about one order, as read from an event. ``is_unread``: it names an amount that cannot be read."""

    order_id: str
    order: Order
    is_unread: bool = False


def is_about_an_order(event: str | None) -> bool:
    """Whether a track call of this name speaks of an order."""
    return event is not None and (event_type(event) == "purchase" or canonical_name(event) in _KINDS)


def read(event: str, properties: Mapping[str, Any], place: Place, default_currency: str) -> OrderEvent | None:
    """The fact in a track call's properties; None for a refund or cancellation that names no order."""
    kind: FactKind = _KINDS.get(canonical_name(event), "placed")
    named = _text(properties, *_IDS)
    if named is None and kind != "placed":
        return None
    order_id = named or place.message_id
    blank = Order(place._replace(rank=place.rank + _NO_FACT))
    if kind == "cancelled":
        return OrderEvent(order_id, replace(blank, cancelled_at=place.moment))
    named_currency = _text(properties, "currency")
    if kind == "refunded":
        amount = _refunded(properties)
        is_unread = amount is None and _names_amount(properties)
        refund = Refund(_NOTHING if is_unread else amount, named_currency.upper()[:8] if named_currency else None)
        return OrderEvent(order_id, replace(blank, refunds={place.message_id: refund}), is_unread)
    currency = (named_currency or default_currency).upper()[:8]
    minor, basis = _amount(properties, currency)
    order = Order(
        place,
        Price(place.moment, place.message_id, currency, minor, basis),
        place.moment,
        place.moment if kind == "placed" else NEVER,
    )
    return OrderEvent(order_id, order, basis == _UNKNOWN and _names_amount(properties))


def _amount(properties: Mapping[str, Any], currency: str) -> tuple[int, str]:
    """The order's worth without tax and shipping where the event tells it, and the property it was read from."""
    for name in ("revenue", "subtotal"):
        if (minor := _minor(properties.get(name), currency)) is not None:
            return minor, name
    total = _minor(properties.get("total"), currency)
    extras = [_minor(properties.get(name), currency) for name in ("tax", "shipping")]
    if total is not None and any(extra is not None for extra in extras):
        return max(0, total - sum(filter(None, extras))), "total-tax-shipping"
    for name in ("total", "value", "amount"):
        if (minor := _minor(properties.get(name), currency)) is not None:
            return minor, name
    items = _minor(_items(properties), currency)
    return (0, _UNKNOWN) if items is None else (items, "items")


def _refunded(properties: Mapping[str, Any]) -> str | None:
    """What is paid back, in the major unit, whichever sign it has; None when nothing readable tells it."""
    told = [*(properties.get(name) for name in ("total", "revenue", "value", "amount", "subtotal")), _items(properties)]
    return next((str(abs(Decimal(str(one)))) for one in told if _signed(one, _FINEST) is not None), None)


def _names_amount(properties: Mapping[str, Any]) -> bool:
    """Whether an event tells amounts at all, readable or not. A refund that lists products is one of these products."""
    listed = properties.get("products") or properties.get("items")
    return bool(listed) or any(properties.get(name) is not None for name in _AMOUNTS)


def _items(properties: Mapping[str, Any]) -> Decimal | None:
    """The sum of price times quantity over the products, in the major unit; None when no product has a price."""
    items = properties.get("products") or properties.get("items")
    if not isinstance(items, list):
        return None
    sums = [_item(item) for item in items if isinstance(item, dict)]
    priced = [value for value in sums if value is not None]
    return sum(priced, Decimal(0)) if priced else None


def _item(item: Mapping[str, Any]) -> Decimal | None:
    try:
        price, quantity = Decimal(str(item["price"])), Decimal(str(item.get("quantity", 1)))
        return price * quantity if price.is_finite() and quantity.is_finite() else None
    except (ArithmeticError, KeyError, ValueError):
        return None


def _minor(value: Any, currency: str) -> int | None:
    """Minor units of an amount; None for what is no amount, or a negative one."""
    minor = _signed(value, currency)
    return None if minor is None or minor < 0 else minor


def _signed(value: Any, currency: str) -> int | None:
    if value is None or isinstance(value, bool) or not isinstance(value, str | int | float | Decimal):
        return None
    try:
        return to_minor(value, currency)
    except (ValueError, ArithmeticError):
        return None


def _text(properties: Mapping[str, Any], *names: str) -> str | None:
    for name in names:
        value = properties.get(name)
        if isinstance(value, str | int) and not isinstance(value, bool) and str(value).strip():
            return str(value).strip()[:256]
    return None


_encoder = msgspec.msgpack.Encoder()
_decoder = msgspec.msgpack.Decoder(Order)


def encode(order: Order) -> bytes:
    """An order as the store keeps it."""
    return _encoder.encode(order)


def decode(data: bytes) -> Order:
    """The reverse of :func:`encode`."""
    return _decoder.decode(data)
