"""One field of a profile -> the columns that hold it, and what was read from them -> the value that ``match`` sees."""

import json
from collections.abc import Callable
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cdp_segmenter.rules.ast import Field
from cdp_segmenter.rules.bound import Bound
from cdp_segmenter.rules.facts import Facts
from cdp_segmenter.rules.json_sql import trait_column
from cdp_segmenter.rules.leaves import TIME_COLUMNS
from cdp_segmenter.rules.match import seen
from cdp_segmenter.rules.times import from_epoch_ms

_NO_ONE: Final = UUID(int=0)
_UNSAID: Final = -1
_COMPUTED: Final[dict[str, tuple[str, ...]]] = {
    "ltv": ("ltv_minor", "currency"),
    "aov": ("ltv_minor", "currency", "order_count"),
    "purchaseCount": ("order_count",),
    "daysSinceLastPurchase": ("toUnixTimestamp64Milli(last_order_at)",),
    "currency": ("currency",),
    **{name: (f"toUnixTimestamp64Milli({column})",) for name, column in TIME_COLUMNS.items()},
}


def fact_columns(bound: Bound, field: Field) -> tuple[str, ...]:
    """Expressions over a row of ``profiles``; together they tell the field."""
    match field.space:
        case "attributes":
            return (trait_column("traits", field.name).whole,)
        case "identifiers":
            return (f"identifiers[{bound('String', field.name)}]",)
        case "consent":
            purpose = bound("String", field.name)
            return (f"if(mapContains(consent, {purpose}), toInt8(consent[{purpose}]), toInt8({_UNSAID}))",)
    return _COMPUTED[field.name]


def fact(field: Field, read: tuple[Any, ...], now: datetime) -> Any:
    """What ``match.seen`` gives for a profile whose columns were read as these; None when it is missing."""
    match field.space:
        case "attributes":
            return None if read[0] is None else json.loads(read[0])
        case "identifiers":
            return tuple(read[0]) or None
        case "consent":
            return None if read[0] == _UNSAID else bool(read[0])
    return seen(field, _FACTS[field.name](*read), now)


def instant_of_ms(ms: int | None) -> datetime | None:
    """The instant of stored milliseconds."""
    return None if ms is None else from_epoch_ms(ms)


_FACTS: Final[dict[str, Callable[..., Facts]]] = {
    "ltv": lambda minor, currency: Facts(_NO_ONE, ltv_minor=minor, currency=currency),
    "aov": lambda minor, currency, orders: Facts(_NO_ONE, ltv_minor=minor, currency=currency, order_count=orders),
    "purchaseCount": lambda orders: Facts(_NO_ONE, order_count=orders),
    "daysSinceLastPurchase": lambda ms: Facts(_NO_ONE, last_order_at=instant_of_ms(ms)),
    "currency": lambda currency: Facts(_NO_ONE, currency=currency),
    "firstSeenDate": lambda ms: Facts(_NO_ONE, first_seen=instant_of_ms(ms)),
    "lastSeenDate": lambda ms: Facts(_NO_ONE, last_seen=instant_of_ms(ms)),
    "lastPurchaseDate": lambda ms: Facts(_NO_ONE, last_order_at=instant_of_ms(ms)),
}
