"""Money is exact in every currency."""

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_schemas.money import to_major, to_minor


@pytest.mark.parametrize(
    ("amount", "currency", "minor"),
    [
        (130.09, "USD", 13009),
        ("130.09", "USD", 13009),
        (0.1 + 0.2, "USD", 30),
        (1999, "JPY", 1999),
        ("1.2345", "KWD", 1234),
        (-5, "EUR", -500),
        (64.995, "USD", 6500),
        (64.985, "USD", 6498),
    ],
)
def test_amounts_become_minor_units(amount: str | float, currency: str, minor: int) -> None:
    assert to_minor(amount, currency) == minor


@pytest.mark.parametrize("amount", ["", "abc", "NaN", "Infinity", float("inf"), float("nan"), 1e300, "1e400", None])
def test_what_is_no_amount_is_refused(amount: object) -> None:
    with pytest.raises(ValueError, match="amount of money"):
        to_minor(amount, "USD")  # type: ignore[arg-type]


@given(st.integers(-(10**15), 10**15), st.sampled_from(["USD", "JPY", "KWD"]))
def test_minor_and_major_are_inverse(minor: int, currency: str) -> None:
    assert to_minor(to_major(minor, currency), currency) == minor
    assert to_minor(str(to_major(minor, currency)), currency) == minor


def test_major_keeps_its_digits() -> None:
    assert to_major(13000, "USD") == Decimal("130.00")
    assert str(to_major(13000, "USD")) == "130.00"
