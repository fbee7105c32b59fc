"""An order counts once, to the last cent, in whatever order its events come."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from functools import reduce
from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_identity import orders
from cdp_identity.golden import to_micros
from cdp_identity.orders import Order, Place, Price, Refund, Total
from cdp_identity.revenue import Sum, revenue_of
from cdp_verify.journal import Answer, Entry
from cdp_verify.oracle import replay
from cdp_verify.shop import Mix, Shop

NODE, OTHER = UUID(int=1), UUID(int=2)


def fact(event: str, moment: int, *, node: UUID = NODE, rank: int = 0, **properties: Any) -> Order:
    properties.setdefault("order_id", "o1")
    found = orders.read(event, properties, Place(rank, moment, f"m{moment}", node), "USD")
    assert found is not None and found.order_id == properties["order_id"]
    return found.order


def joined(facts: Sequence[Order]) -> Order:
    return reduce(Order.join, facts)


def total(*facts: Order) -> Total | None:
    return joined(facts).total()


facts = st.lists(
    st.one_of(
        st.builds(
            lambda at, revenue: fact("Order Completed", at, revenue=revenue, node=NODE if at % 2 else OTHER),
            st.integers(0, 20),
            st.sampled_from(["10.10", 20, 0.3]),
        ),
        st.builds(lambda at: fact("Order Updated", at, revenue=25, rank=4), st.integers(0, 20)),
        st.builds(lambda at: fact("Order Updated", at, status="shipped"), st.integers(0, 20)),
        st.builds(lambda at: fact("Order Completed", at, currency="EUR"), st.integers(0, 20)),
        st.builds(lambda at, part: fact("Order Refunded", at, total=part), st.integers(0, 20), st.sampled_from([1, 7])),
        st.builds(lambda at: fact("Order Refunded", at), st.integers(0, 20)),
        st.builds(lambda at: fact("Order Cancelled", at), st.integers(0, 20)),
    ),
    min_size=1,
    max_size=8,
    unique_by=lambda one: max(one.owner.moment, one.cancelled_at),
)


@given(facts, st.randoms())
def test_joining_is_commutative_associative_and_idempotent(given_facts: list[Order], random: Random) -> None:
    shuffled = [*given_facts, *given_facts]
    random.shuffle(shuffled)
    cut = random.randint(1, len(shuffled) - 1)
    halves = joined(shuffled[:cut]).join(joined(shuffled[cut:]))
    assert joined(given_facts) == halves
    assert orders.decode(orders.encode(halves)) == halves


@pytest.mark.parametrize(
    ("properties", "minor"),
    [
        ({"revenue": 59.98, "total": 70}, 5998),
        ({"subtotal": "59.98", "total": 70}, 5998),
        ({"total": 70, "tax": 5, "shipping": 5.5}, 5950),
        ({"total": 70}, 7000),
        ({"value": 12}, 1200),
        ({"amount": 249.99, "orderId": "o1"}, 24999),
        ({"products": [{"price": 0.1, "quantity": 3}, {"price": "2"}]}, 230),
        ({"items": [{"price": 124.995, "quantity": 2}]}, 24999),
        ({"revenue": "a lot", "total": 3}, 300),
        ({"revenue": 1000, "currency": "jpy"}, 1000),
        ({}, 0),
    ],
)
def test_the_amount_is_read_from_the_best_property(properties: dict[str, Any], minor: int) -> None:
    found = total(fact("Order Completed", 1, **properties))
    assert found is not None and found.net == minor


def test_the_latest_update_is_the_price() -> None:
    assert total(fact("Order Updated", 5, revenue=8), fact("Order Completed", 1, revenue=10)) == Total("USD", 800, 0, 1)


@given(facts, st.randoms())
def test_what_tells_no_amount_changes_no_sum(given_facts: list[Order], random: Random) -> None:
    placed = fact("Order Completed", 30, revenue=100, currency="EUR")
    silent = (
        fact("Order Updated", 31, status="shipped"),
        fact("Order Completed", 32),
        fact("Order Updated", 33, total="?"),
    )
    told = [*given_facts, placed]
    everything = [*told, *silent]
    random.shuffle(everything)
    expected, found = total(*told), total(*everything)
    assert expected is not None and expected.currency == "EUR" and found == expected


@pytest.mark.parametrize(
    ("properties", "refunded", "is_unread"),
    [
        ({}, 10000, False),
        ({"total": None, "products": []}, 10000, False),
        ({"total": -30}, 3000, False),
        ({"revenue": "-30.005"}, 3000, False),
        ({"subtotal": 30}, 3000, False),
        ({"products": [{"price": -15, "quantity": 2}]}, 3000, False),
        ({"total": "30,00", "value": 30}, 3000, False),
        ({"total": 0}, 0, False),
        ({"total": "30,00"}, 0, True),
        ({"total": ""}, 0, True),
        ({"amount": [30]}, 0, True),
        ({"total": "1e16"}, 0, True),
        ({"products": [{"product_id": "a", "quantity": 1}]}, 0, True),
    ],
)
def test_a_refund_is_of_all_that_is_left_only_where_it_names_no_amount(
    properties: dict[str, Any], refunded: int, is_unread: bool
) -> None:
    placed = fact("Order Completed", 1, revenue=100, currency="EUR")
    told = orders.read("Order Refunded", {"order_id": "o1", **properties}, Place(0, 2, "m2", NODE), "USD")
    assert told is not None and told.is_unread is is_unread
    assert total(placed, told.order) == Total("EUR", 10000 - refunded, refunded, 1)


def test_an_order_whose_amount_cannot_be_read_says_so() -> None:
    place = Place(0, 1, "m1", NODE)
    read = [
        orders.read("Order Completed", {"order_id": "o1", **properties}, place, "USD")
        for properties in ({"total": "100,00"}, {"revenue": -5}, {}, {"total": 100, "revenue": "?"}, {"revenue": 0})
    ]
    assert [one is not None and one.is_unread for one in read] == [True, True, False, False, False]


def test_what_an_earlier_release_stored_is_read_and_counts_as_what_comes_then_says() -> None:
    # a price that was lost to an event without one, and products that were paid back below zero
    owner = Place(0, 1, "m1", NODE)
    lost = Order(owner, Price(2, "m2", "USD", 0, "unknown"), 1, 1, refunds={"m3": Refund("-30", "EUR")})
    stored = orders.decode(orders.encode(lost))
    assert stored.total() == Total("USD", 0, 0, 1)
    again = fact("Order Completed", 1, revenue=100, currency="EUR")
    assert total(stored, again) == total(again, stored) == Total("EUR", 7000, 3000, 1)


@pytest.mark.parametrize("seed", range(3))
def test_a_shops_orders_bring_what_the_oracle_of_the_proof_says(seed: int) -> None:
    start = datetime(2026, 11, 20, 12, tzinfo=UTC)
    shop = Shop("t", "north", seed, Mix(people=20))
    said = [event for second in range(400) for event in shop.batch(5, start + timedelta(seconds=second)).events]
    ledger: dict[str, Order] = {}
    unread = 0
    for event in said:
        if orders.is_about_an_order(event.get("event")) and "properties" in event:
            place = Place(0, to_micros(datetime.fromisoformat(event["timestamp"])), event["messageId"], NODE)
            told = orders.read(event["event"], event["properties"], place, "USD")
            assert told is not None
            unread += told.is_unread
            ledger[told.order_id] = ledger[told.order_id].join(told.order) if told.order_id in ledger else told.order
    due = replay(Entry("north", event, Answer.ACCEPTED, 1) for event in said if "properties" in event).values()
    totals = [found for order in ledger.values() if (found := order.total()) is not None]
    found = revenue_of((Sum(one.currency, one.net, one.refunded, 1, 0, 0) for one in totals), "USD")
    assert unread and found.order_count == sum(one.order_count for one in due)
    assert found.ltv_minor == sum(one.ltv_minor for one in due)
    assert found.refunded_minor == sum(one.refunded_minor for one in due)


def test_refunds_add_up_and_never_exceed_the_order() -> None:
    placed = fact("Order Completed", 1, revenue=10)
    part, more, rest = (
        fact("Order Refunded", 2, total=4),
        fact("Order Refunded", 3, total=5),
        fact("Order Refunded", 4, total=5),
    )
    assert total(placed, part, part) == Total("USD", 600, 400, 1)
    assert total(placed, part, more) == Total("USD", 100, 900, 1)
    assert total(placed, part, more, rest) == Total("USD", 0, 1000, 1)
    assert total(placed, fact("Order Refunded", 2)) == Total("USD", 0, 1000, 1)


def test_a_refund_before_its_order_waits_for_it() -> None:
    refund = fact("Order Refunded", 2, total=300, currency="JPY")
    assert total(refund) is None
    assert total(refund, fact("Order Completed", 1, revenue=1000, currency="JPY")) == Total("JPY", 700, 300, 1)


def test_a_cancelled_order_brings_nothing_until_it_is_placed_again() -> None:
    placed, cancelled = fact("Order Completed", 1, revenue=10), fact("Order Cancelled", 2)
    assert total(placed, cancelled) is None
    assert total(placed, cancelled, fact("Order Updated", 3, revenue=9)) is None
    assert total(placed, cancelled, fact("Order Completed", 4, revenue=9)) == Total("USD", 900, 0, 1)


def test_the_strongest_node_owns_the_order() -> None:
    at_browser = fact("Order Completed", 1, revenue=10, node=OTHER, rank=4)
    at_server = fact("Order Completed", 2, revenue=10, node=NODE, rank=0)
    assert joined([at_browser, at_server]).owner.node == NODE
    assert joined([at_browser, fact("Order Refunded", 0, node=NODE)]).owner.node == OTHER
