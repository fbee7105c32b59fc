"""Decimal amounts in a currency's major unit <-> integer minor units (ISO 4217 exponents)."""

from decimal import ROUND_HALF_EVEN, Decimal, InvalidOperation
from typing import Final

# currency -> digits behind the decimal point, where they are not 2
EXPONENTS: Final = {
    **dict.fromkeys("BIF CLP DJF GNF ISK JPY KMF KRW PYG RWF UGX UYI VND VUV XAF XOF XPF".split(), 0),
    **dict.fromkeys("BHD IQD JOD KWD LYD OMR TND".split(), 3),
}
_LIMIT: Final = 10**17


def exponent(currency: str) -> int:
    """Digits behind the decimal point: 0 for JPY, 3 for KWD, 2 for most."""
    return EXPONENTS.get(currency, 2)


def to_minor(amount: str | int | float | Decimal, currency: str) -> int:
    """Minor units of an amount, rounded half to even. Raises ValueError when it is no finite amount below 1e17."""
    try:
        # a float is read by its shortest decimal form, so 0.1 stays 0.1
        value = Decimal(str(amount)) if isinstance(amount, float) else Decimal(amount)
        minor = value.scaleb(exponent(currency)).quantize(Decimal(1), rounding=ROUND_HALF_EVEN)
    except (InvalidOperation, TypeError, ValueError) as error:
        raise ValueError(f"{amount!r} is not an amount of money") from error
    if not minor.is_finite():
        raise ValueError(f"{amount!r} is not an amount of money")
    if not -_LIMIT < minor < _LIMIT:
        raise ValueError(f"{amount!r} is too large an amount of money")
    return int(minor)


def to_major(minor: int, currency: str) -> Decimal:
    """The amount in the major unit: 13009 USD -> 130.09."""
    return Decimal(minor).scaleb(-exponent(currency))
