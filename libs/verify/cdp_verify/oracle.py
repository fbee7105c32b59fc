"""A journal -> what the order ledger must say of each person, replayed in one thread by rules written down again here.

The price of an order is what the newest event about it says that tells one, ties broken by message id. An order counts
from its first event on, unless it was cancelled after it was last completed. Refunds in the order's own currency add up
to at most its price, whatever their sign; a refund of what is no number pays nothing back; each message counts once.
What is paid in another currency than the workspace's is kept apart.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Any, Final, NamedTuple

from cdp_schemas.money import to_minor
from cdp_verify.journal import Entry

Person = tuple[str, str]  # workspace, user id
_ORDER_EVENTS: Final = frozenset(("Order Completed", "Order Updated", "Order Refunded", "Order Cancelled"))


class Due(NamedTuple):
    """What one person's orders bring: net and refunded in the workspace's currency, and net by currency."""

    ltv_minor: int = 0
    order_count: int = 0
    refunded_minor: int = 0
    by_currency: tuple[tuple[str, int], ...] = ()


@dataclass(slots=True)
class _Order:
    price: tuple[bool, str, str, str, int] | None = None  # is told, time, message id, currency, minor units
    completed_at: str = ""
    cancelled_at: str = ""
    refunds: dict[str, tuple[str, Any]] = field(default_factory=dict)

    def hear(self, event: dict[str, Any]) -> None:
        body, at = event["properties"], event["timestamp"]
        match event["event"]:
            case "Order Refunded":
                self.refunds[event["messageId"]] = (body["currency"], body["total"])
            case "Order Cancelled":
                self.cancelled_at = max(self.cancelled_at, at)
            case name:
                minor = to_minor(body.get("revenue", 0), body["currency"])
                said = ("revenue" in body, at, event["messageId"], body["currency"], minor)
                self.price = said if self.price is None else max(self.price, said)
                if name == "Order Completed":
                    self.completed_at = max(self.completed_at, at)

    def brings(self) -> tuple[str, int, int] | None:
        """Currency, net and refunded; None for an order that does not count."""
        if self.price is None or self.cancelled_at > self.completed_at:
            return None
        *_, currency, price = self.price
        refunded = sum(_paid_back(amount, currency) for spent, amount in self.refunds.values() if spent == currency)
        return currency, price - min(price, refunded), min(price, refunded)


def _paid_back(amount: Any, currency: str) -> int:
    return 0 if isinstance(amount, str) else abs(to_minor(amount, currency))


def is_about_an_order(entry: Entry) -> bool:
    return not entry.is_faulty and entry.event.get("event") in _ORDER_EVENTS


def person_of(entry: Entry) -> Person | None:
    """Whose the event is, as far as it names a user."""
    user = entry.event.get("userId")
    return (entry.workspace_id, user) if isinstance(user, str) else None


def replay(entries: Iterable[Entry], currency: str = "USD") -> dict[Person, Due]:
    """Everybody named in the entries, also those without an order. Entries must be those that are in the store."""
    orders: dict[Person, dict[str, _Order]] = {}
    for entry in entries:
        person = None if entry.is_faulty else person_of(entry)
        if person is not None:
            theirs = orders.setdefault(person, {})
            if is_about_an_order(entry):
                theirs.setdefault(entry.event["properties"]["order_id"], _Order()).hear(entry.event)
    return {person: _due(theirs.values(), currency) for person, theirs in orders.items()}


def _due(orders: Iterable[_Order], currency: str) -> Due:
    counted = [brought for order in orders if (brought := order.brings()) is not None]
    net: dict[str, int] = {}
    for spent, amount, _ in counted:
        net[spent] = net.get(spent, 0) + amount
    refunded = sum(back for spent, _, back in counted if spent == currency)
    return Due(net.get(currency, 0), len(counted), refunded, tuple(sorted(net.items())))
