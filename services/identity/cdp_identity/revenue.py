"""What the orders of a profile's nodes bring -> its revenue: from all of them, or from what it was and what changed."""

from collections.abc import Iterable
from typing import NamedTuple

from cdp_identity.golden import from_micros
from cdp_identity.orders import Total
from cdp_schemas.profiles import Revenue


class Sum(NamedTuple):
    """The order ledger of one node in one currency, minor units and µs."""

    currency: str
    net: int
    refunded: int
    orders: int
    first_at: int
    last_at: int


class OrderChange(NamedTuple):
    """What one order brought a node, and what it brings it now; None while it does not count."""

    before: Total | None
    now: Total | None


def revenue_of(sums: Iterable[Sum], currency: str) -> Revenue:
    """The sums of a profile's nodes as its revenue; other currencies than the workspace's are kept apart.

    ``order_count`` and the times count every order, whatever its currency.
    """
    rows = list(sums)
    net: dict[str, int] = {}
    for row in rows:
        net[row.currency] = net.get(row.currency, 0) + row.net
    return Revenue(
        currency,
        net.get(currency, 0),
        sum(row.orders for row in rows),
        sum(row.refunded for row in rows if row.currency == currency),
        from_micros(min(row.first_at for row in rows)) if rows else None,
        from_micros(max(row.last_at for row in rows)) if rows else None,
        dict(sorted(net.items())),
    )


def with_changes(revenue: Revenue, changes: Iterable[OrderChange], currency: str) -> Revenue | None:
    """The revenue after some orders changed; None where only all orders together tell it.

    That is where one counts no more, or in another currency or at another time. All others are added to what is known:
    whoever orders often has many orders, and to sum them all for each one more takes longer with every one.
    """
    if revenue.currency != currency:
        return None
    net = dict(revenue.by_currency)
    count, refunded = revenue.order_count, revenue.refunded_minor
    times = [at for at in (revenue.first_order_at, revenue.last_order_at) if at is not None]
    for before, now in changes:
        if now is None:
            if before is not None:
                return None
            continue
        if before is None:
            count += 1
            times.append(from_micros(now.placed_at))
        elif (before.currency, before.placed_at) != (now.currency, now.placed_at):
            return None
        net[now.currency] = net.get(now.currency, 0) + now.net - (before.net if before else 0)
        if now.currency == currency:
            refunded += now.refunded - (before.refunded if before else 0)
    first, last = min(times, default=None), max(times, default=None)
    return Revenue(currency, net.get(currency, 0), count, refunded, first, last, dict(sorted(net.items())))
