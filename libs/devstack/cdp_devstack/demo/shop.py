"""Visitors of a small lamp shop -> the calls their devices make, and what the shop's own books say of them. Pure."""

import random
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final, Literal

Call = Literal["page", "track", "identify"]


@dataclass(frozen=True, slots=True)
class Product:
    """One article; ``cents`` is its price in minor units of USD."""

    sku: str
    name: str
    cents: int


CATALOGUE: Final = (
    Product("LAMP-1", "Brass desk lamp", 8_950),
    Product("LAMP-2", "Paper floor lamp", 14_900),
    Product("LAMP-3", "Clip-on reading light", 2_475),
    Product("BULB-1", "Warm bulb, four of them", 1_999),
)
NAMES: Final = "Grace Alan Edsger Barbara Donald Radia Ken Frances Tony Margaret Leslie Anita Vint Shafi".split()
COUNTRIES: Final = ("GB", "US", "DE", "FR", "IN")


@dataclass(frozen=True, slots=True)
class Step:
    """One call that a device makes; ``at`` is its event time."""

    call: Call
    anonymous_id: str
    at: datetime
    user_id: str | None = None
    event: str | None = None
    body: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person with one or two devices; only some ever sign in."""

    user_id: str
    name: str
    country: str
    devices: tuple[str, ...]
    signs_in: bool
    buys: tuple[Product, ...]
    refund: bool = False

    @property
    def ltv_cents(self) -> int:
        """What the shop's own books say: orders less refunds, in cents."""
        return 0 if self.refund else sum(product.cents for product in self.buys)


ADA: Final = Visitor("ada", "Ada", "GB", ("demo-ada-phone", "demo-ada-laptop"), True, (CATALOGUE[1], CATALOGUE[0]))


def visitors(seed: int, count: int) -> Iterator[Visitor]:
    """A repeatable crowd: browsers, buyers, refunds."""
    chance = random.Random(seed)
    for number in range(count):
        name = chance.choice(NAMES)
        user_id = f"{name.lower()}-{seed}-{number}"
        devices = tuple(f"{user_id}-device-{n}" for n in range(chance.choice((1, 1, 2))))
        signs_in = chance.random() < 0.6
        buys = tuple(chance.sample(CATALOGUE, chance.choice((0, 1, 1, 2, 3)))) if signs_in else ()
        refund = bool(buys) and chance.random() < 0.15
        yield Visitor(user_id, name, chance.choice(COUNTRIES), devices, signs_in, buys, refund)


def steps(visitor: Visitor, start: datetime) -> list[Step]:
    """The visit in the order of time: every device browses, then signs in; the last one buys."""
    times = (start + timedelta(seconds=2 * n) for n in range(1000))
    browsed = visitor.buys or CATALOGUE[:2]
    visit: list[Step] = []
    for device in visitor.devices:
        visit += _browse(device, browsed, times)
        if visitor.signs_in:
            visit.append(_sign_in(visitor, device, next(times)))
    for number, product in enumerate(visitor.buys, 1):
        visit.append(_order(visitor, f"demo-{visitor.user_id}-{number}", product, next(times)))
    if visitor.refund:
        for number in range(1, len(visitor.buys) + 1):
            body = {"order_id": f"demo-{visitor.user_id}-{number}"}
            visit.append(Step("track", visitor.devices[-1], next(times), visitor.user_id, "Order Refunded", body))
    return visit


def _browse(device: str, products: tuple[Product, ...], times: Iterator[datetime]) -> list[Step]:
    visit = [Step("page", device, next(times), body={"path": "/", "title": "Lamps"})]
    for product in products:
        visit.append(Step("track", device, next(times), event="Product Viewed", body=_line(product)))
    visit.append(Step("track", device, next(times), event="Product Added", body=_line(products[0])))
    return visit


def _sign_in(visitor: Visitor, device: str, at: datetime) -> Step:
    traits = {
        "email": f"{visitor.user_id}@example.com",
        "firstName": visitor.name,
        "country": visitor.country,
    }
    return Step("identify", device, at, visitor.user_id, body=traits)


def _order(visitor: Visitor, order_id: str, product: Product, at: datetime) -> Step:
    body = {
        "order_id": order_id,
        "revenue": product.cents / 100,
        "currency": "USD",
        "products": [{**_line(product), "quantity": 1}],
    }
    return Step("track", visitor.devices[-1], at, visitor.user_id, "Order Completed", body)


def _line(product: Product) -> dict[str, Any]:
    return {"product_id": product.sku, "name": product.name, "price": product.cents / 100}
