"""An order counts once, to the last cent, in whatever order its events come."""

from random import Random
from typing import Any
from uuid import UUID

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_identity import orders
from cdp_identity.orders import Order, Place, Total

NODE, OTHER = UUID(int=1), UUID(int=2)


def fact(event: str, moment: int, *, node: UUID = NODE, rank: int = 0, **properties: Any) -> Order:
    properties.setdefault("order_id", "o1")
    found = orders.read(event, properties, Place(rank, moment, f"m{moment}", node), "USD")
    assert found is not None and found.order_id == properties["order_id"]
    return found.order


def total(*facts: Order) -> Total | None:
    return orders.join_all(facts).total()


facts = st.lists(
    st.one_of(
        st.builds(
            lambda at, revenue: fact("Order Completed", at, revenue=revenue, node=NODE if at % 2 else OTHER),
            st.integers(0, 20),
            st.sampled_from(["10.10", 20, 0.3]),
        ),
        st.builds(lambda at: fact("Order Updated", at, revenue=25, rank=4), st.integers(0, 20)),
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
    halves = orders.join_all(shuffled[:cut]).join(orders.join_all(shuffled[cut:]))
    assert orders.join_all(given_facts) == halves
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
    assert orders.join_all([at_browser, at_server]).owner.node == NODE
    assert orders.join_all([at_browser, fact("Order Refunded", 0, node=NODE)]).owner.node == OTHER
