"""What orders bring, added up as they change, is what all of them together bring."""

from collections.abc import Iterable
from uuid import UUID

from hypothesis import given
from hypothesis import strategies as st

from cdp_identity import orders
from cdp_identity.orders import Order, Place, Total
from cdp_identity.revenue import OrderChange, Sum, revenue_of, with_changes
from cdp_schemas.profiles import Revenue

NODE = UUID(int=1)
EVENTS = ("Order Completed", "Order Updated", "Order Refunded", "Order Cancelled")
facts = st.tuples(
    st.sampled_from(["A", "B", "C"]),
    st.sampled_from(EVENTS),
    st.integers(1, 30),
    st.sampled_from(["USD", "EUR"]),
    st.sampled_from([0, 5, 12.5]),
)


def summed(totals: Iterable[Total | None]) -> Revenue:
    """The ledger's way: every order that counts."""
    return revenue_of((Sum(t.currency, t.net, t.refunded, 1, t.placed_at, t.placed_at) for t in totals if t), "USD")


@given(st.lists(st.lists(facts, min_size=1, max_size=4), max_size=12))
def test_batch_after_batch_it_is_the_sum_of_all_orders(batches: list[list[tuple[str, str, int, str, float]]]) -> None:
    ledger: dict[str, Order] = {}
    revenue = Revenue("USD")
    for number, batch in enumerate(batches):
        before = dict(ledger)
        for place, (order_id, event, moment, currency, amount) in enumerate(batch):
            said = Place(0, moment, f"m{number}-{place}", NODE)
            properties = {"order_id": order_id, "revenue": amount, "currency": currency}
            told = orders.read(event, properties, said, "USD")
            assert told is not None
            ledger[order_id] = ledger[order_id].join(told.order) if order_id in ledger else told.order
        everything = summed(order.total() for order in ledger.values())
        old = {one: order.total() for one, order in before.items()}
        changed = [
            OrderChange(old.get(one), order.total()) for one, order in ledger.items() if order != before.get(one)
        ]
        after = with_changes(revenue, changed, "USD")
        assert after is None or after == everything
        revenue = everything


def test_one_order_more_and_a_refund_are_added_without_the_others() -> None:
    first = Total("USD", 1_000, 0, 5)
    known = summed([first])
    more = Total("EUR", 700, 0, 3)
    added = with_changes(known, [OrderChange(None, more)], "USD")
    assert added == summed([first, more])
    refunded = Total("USD", 600, 400, 5)
    assert with_changes(known, [OrderChange(first, refunded)], "USD") == summed([refunded])
    assert with_changes(known, [OrderChange(None, None)], "USD") == known


def test_only_all_orders_tell_what_is_left_without_one() -> None:
    first = Total("USD", 1_000, 0, 5)
    known = summed([first])
    assert with_changes(known, [OrderChange(first, None)], "USD") is None
    assert with_changes(known, [OrderChange(first, Total("EUR", 1_000, 0, 5))], "USD") is None
    assert with_changes(known, [OrderChange(first, Total("USD", 1_000, 0, 4))], "USD") is None
    assert with_changes(known, [], "EUR") is None
