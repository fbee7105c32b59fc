"""Many items in parts: all of them, in their order, and no part too large."""

from hypothesis import given
from hypothesis import strategies as st

from cdp_runtime.parts import in_parts


@given(st.lists(st.integers()), st.integers(1, 7))
def test_parts_hold_every_item_once_in_order_and_only_the_last_is_not_full(items: list[int], size: int) -> None:
    parts = list(in_parts(items, size))
    assert [one for part in parts for one in part] == items
    assert all(len(part) == size for part in parts[:-1])
    assert all(0 < len(part) <= size for part in parts)
