"""A seed -> the events of several shops: visits, people who log in and merge, orders, refunds, cancellations."""

import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from itertools import accumulate
from typing import Any, Final

from cdp_schemas.money import exponent

Event = dict[str, Any]
ZIPF: Final = 1.1
_CURRENCIES: Final = ("USD", "USD", "USD", "EUR", "JPY", "KWD")
_FAULTS: Final[tuple[Event, ...]] = (
    {"type": "track"},  # names no event
    {"type": "teleport"},  # no call that there is
    {"type": "identify", "userId": {"id": 1}},  # an object where a text belongs
    {"type": "track", "event": "Order Completed", "timestamp": "the day before yesterday"},
)
# share of events that: carry a user id without buying, buy, are an alias, are late, are malformed
_IDENTIFIED, _BOUGHT, _ALIAS, _LATE, _FAULTY = 0.15, 0.40, 0.005, 0.005, 0.001


@dataclass(frozen=True, slots=True)
class Mix:
    """How a shop's traffic is made; the shares of the kinds of events are fixed.

    ``odd_amounts``: some events of orders tell no amount, one below zero or one that cannot be read.
    """

    people: int = 1000
    late: float = _LATE
    faulty: float = _FAULTY
    odd_amounts: bool = True


@dataclass(frozen=True, slots=True)
class Batch:
    """Events of one workspace that go in one call. ``faulty``: message ids of those that cannot be taken."""

    workspace_id: str
    events: Sequence[Event]
    faulty: Sequence[str]


@dataclass(frozen=True, slots=True)
class _Basket:
    """One order as the shop knows it."""

    order_id: str
    currency: str


class Shop:
    """Events of one workspace. The same prefix, seed and mix give the same events but for their times.

    People come by a Zipf law, each on two devices; every text that the shop makes up holds ``canary``, so that a row
    that strays into another workspace can be recognised.
    """

    def __init__(self, prefix: str, workspace_id: str, seed: int, mix: Mix = Mix()) -> None:
        self._chance = random.Random(f"{seed}|{workspace_id}")
        self._prefix, self._workspace_id, self._mix, self._number = prefix, workspace_id, mix, 0
        self._weights = list(accumulate(1 / (rank + 1) ** ZIPF for rank in range(mix.people)))
        self._orders: dict[int, list[_Basket]] = {}
        self.canary = canary(prefix, workspace_id)

    def batch(self, size: int, now: datetime) -> Batch:
        """The next ``size`` events; ``now`` is the client's clock."""
        faulty: list[str] = []
        events = [self._event(now, faulty) for _ in range(size)]
        return Batch(self._workspace_id, events, faulty)

    def _event(self, now: datetime, faulty: list[str]) -> Event:
        self._number += 1
        who = self._person()
        at = now - timedelta(days=self._chance.uniform(1, 20)) if self._chance.random() < self._mix.late else now
        event: Event = {
            "messageId": f"{self._prefix}-{self._workspace_id}-{self._number}",
            "anonymousId": f"{self.canary}-device-{who}-{self._chance.randrange(2)}",
            "timestamp": at.isoformat(timespec="milliseconds"),
            "context": {"page": {"path": f"/{self.canary}/{self._number}"}},
        }
        if self._chance.random() < self._mix.faulty:
            faulty.append(event["messageId"])
            return event | self._chance.choice(_FAULTS)
        return event | self._said(who, self._chance.random())

    def _said(self, who: int, kind: float) -> Event:
        user = f"{self.canary}-user-{who}"
        if kind < _ALIAS:
            return {"type": "alias", "userId": user, "previousId": f"{self.canary}-visitor-{who}"}
        if kind < _IDENTIFIED:
            traits = {"email": f"{self.canary}.{who}@example.com", "plan": f"{self.canary}-{self._number % 3}"}
            return {"type": "identify", "userId": user, "traits": traits}
        if kind < _BOUGHT:
            return {"type": "track", "userId": user, **self._purchase(who)}
        return {
            "type": "track",
            "event": self._chance.choice(("Product Viewed", "Product List Viewed", "Cart Viewed")),
            "properties": {"n": self._number, "page": self.canary},
        }

    def _purchase(self, who: int) -> Event:
        orders = self._orders.setdefault(who, [])
        step = self._chance.random()
        if orders and step < 0.25:
            return self._aftermath(self._chance.choice(orders), step)
        order = _Basket(f"{self.canary}-order-{who}-{len(orders)}", self._chance.choice(_CURRENCIES))
        orders.append(order)
        return {"event": "Order Completed", "properties": self._priced(order, "revenue")}

    def _aftermath(self, order: _Basket, step: float) -> Event:
        if step < 0.04:
            return {"event": "Order Cancelled", "properties": {"order_id": order.order_id}}
        odd = self._mix.odd_amounts
        if odd and step < 0.06:
            shipped = {"order_id": order.order_id, "currency": order.currency, "status": "shipped"}
            return {"event": "Order Updated", "properties": shipped}
        if step < 0.12:
            return {"event": "Order Updated", "properties": self._priced(order, "revenue")}
        refund = self._priced(order, "total")
        if odd and step > 0.23:
            # as some shops write what they pay back: below zero, or for people to read
            refund["total"] = -refund["total"] if step < 0.24 else f"{refund['total']},-"
        return {"event": "Order Refunded", "properties": refund}

    def _priced(self, order: _Basket, name: str) -> Event:
        minor = self._chance.randrange(1, 30_000 if name == "revenue" else 3_000)
        digits = exponent(order.currency)
        # as clients write it: a JSON number in the major unit
        amount = minor if digits == 0 else minor / 10**digits
        return {"order_id": order.order_id, name: amount, "currency": order.currency}

    def _person(self) -> int:
        return bisect(self._weights, self._chance.random() * self._weights[-1])


@dataclass(slots=True)
class Shops:
    """Several workspaces at once, the first ones busier: 70, 20, 7, 2 and 1 per cent."""

    prefix: str
    seed: int
    workspaces: Sequence[str]
    mix: Mix = Mix()
    _chance: random.Random = field(init=False)
    _shops: list[Shop] = field(init=False)

    def __post_init__(self) -> None:
        self._chance = random.Random(self.seed)
        self._shops = [Shop(self.prefix, workspace, self.seed, self.mix) for workspace in self.workspaces]

    def batch(self, now: datetime, largest: int = 25) -> Batch:
        """The next call of one of the workspaces."""
        shop = self._chance.choices(self._shops, SHARES[: len(self._shops)])[0]
        return shop.batch(self._chance.randrange(1, largest + 1), now)


SHARES: Final = (70, 20, 7, 2, 1)


def canary(prefix: str, workspace_id: str) -> str:
    """A text that belongs to one workspace of one run and to nothing else in the world."""
    return f"{prefix}.{workspace_id}.canary"
