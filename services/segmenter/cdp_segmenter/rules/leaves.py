"""One condition of a profile -> the SQL condition that decides it, over the rows of the table that knows."""

from collections.abc import Sequence
from datetime import datetime
from decimal import Decimal
from typing import Any, Final

from cdp_schemas.event_names import names_matching
from cdp_schemas.money import EXPONENTS
from cdp_segmenter.rules.ast import And, Condition, EventCondition, ItemsAre, Not, Or, PropertyIs, TraitIs
from cdp_segmenter.rules.bound import Bound
from cdp_segmenter.rules.compare import satisfied
from cdp_segmenter.rules.compare_sql import (
    json_condition,
    micros_condition,
    names_condition,
    number_condition,
    text_condition,
    time_condition,
)
from cdp_segmenter.rules.json_sql import items_of, json_text, trait_column
from cdp_segmenter.rules.times import epoch_ms
from cdp_segmenter.rules.values import MICROS

_LTV_MICROS: Final = "ltv_micros"
TIME_COLUMNS: Final = {
    "firstSeenDate": "first_seen",
    "lastSeenDate": "last_seen",
    "lastPurchaseDate": "last_order_at",
}
DAY_MS: Final = 86_400_000


def trait_condition(bound: Bound, leaf: TraitIs, now: datetime) -> str:
    """A condition over a row of ``profiles``, in a SELECT that begins with ``ltv_micros``."""
    field, comparison = leaf.field, leaf.comparison
    match field.space:
        case "attributes":
            return json_condition(bound, comparison, trait_column("traits", field.name), now)
        case "identifiers":
            return names_condition(bound, comparison, f"identifiers[{bound('String', field.name)}]")
        case "consent":
            return _consent(bound, leaf)
    return _computed(bound, leaf, now)


def event_aggregate(bound: Bound, leaf: EventCondition, names: Sequence[str], now: datetime) -> str:
    """The aggregate function call over rows ``name`` (1 is the first of ``names``), ``ms``, ``properties``."""
    counted = _counted(bound, leaf, names, now)
    match leaf.aggregate:
        case "count":
            return f"countIf({counted})"
        case "first":
            return f"minOrNullIf(ms, {counted})"
        case "last":
            return f"maxOrNullIf(ms, {counted})"
    number = json_text("properties", leaf.property, lambda key: bound("String", key)).number
    addend = f"ifNull(if(abs({number}) < 1e12, toInt128(round({number} * 1e6)), 0), 0)"
    return f"sumIf({addend}, {counted})"


def aggregate_condition(bound: Bound, leaf: EventCondition, column: str, now: datetime) -> str:
    """The leaf's comparison over its aggregate's column."""
    match leaf.aggregate:
        case "count":
            return number_condition(bound, leaf.comparison, column)
        case "sum":
            return micros_condition(bound, leaf.comparison, column)
    return time_condition(bound, leaf.comparison, column, now)


def holds_without_events(leaf: EventCondition, now: datetime) -> bool:
    """Whether a profile without a single event satisfies the leaf: then its opposite is what rows can show."""
    nothing: dict[str, Any] = {"count": 0.0, "sum": Decimal(0)}
    return satisfied(leaf.comparison, nothing.get(leaf.aggregate), now)


def stored_names(leaf: EventCondition) -> tuple[str, ...]:
    """Every event name that the leaf counts."""
    return tuple(dict.fromkeys(stored for name in leaf.names for stored in names_matching(name)))


def reads_properties(leaf: EventCondition) -> bool:
    return bool(leaf.property) or leaf.filters is not None


def _counted(bound: Bound, leaf: EventCondition, names: Sequence[str], now: datetime) -> str:
    conditions = []
    if set(stored_names(leaf)) != set(names):
        # numbers instead of texts: each is compared for every row and aggregate
        named = " OR ".join(f"name = {names.index(name) + 1}" for name in stored_names(leaf))
        conditions.append(f"({named})")
    if leaf.window is not None:
        conditions.append(f"ms > {bound('Int64', epoch_ms(now - leaf.window))}")
    if leaf.filters is not None:
        conditions.append(_filter(bound, leaf.filters, "properties", now))
    return " AND ".join(conditions) or "1"


def instant_sql(bound: Bound, at: datetime) -> str:
    """An instant of the column's own grain, however the driver writes times."""
    return f"fromUnixTimestamp64Milli({bound('Int64', epoch_ms(at))}, 'UTC')"


def _filter(bound: Bound, condition: Condition, source: str, now: datetime) -> str:
    """A condition over one event's JSON text ``source``."""
    match condition:
        case And(conditions):
            return f"({' AND '.join(_filter(bound, inner, source, now) for inner in conditions) or '1'})"
        case Or(conditions):
            return f"({' OR '.join(_filter(bound, inner, source, now) for inner in conditions) or '0'})"
        case Not(inner):
            return f"NOT {_filter(bound, inner, source, now)}"
        case PropertyIs(path, comparison):
            return json_condition(bound, comparison, json_text(source, path, lambda key: bound("String", key)), now)
        case ItemsAre(path, quantifier, inner):
            items = items_of(source, path, lambda key: bound("String", key))
            # a longer name per level, so that an inner list's items do not shadow the outer's
            item = "item" if source == "properties" else f"{source}_item"
            verdict = _filter(bound, inner, item, now)
            if quantifier == "all":
                return f"(notEmpty({items}) AND arrayAll({item} -> {verdict}, {items}))"
            return f"{'NOT ' if quantifier == 'none' else ''}arrayExists({item} -> {verdict}, {items})"
    raise TypeError(f"{type(condition).__name__} is no filter of events")


def _consent(bound: Bound, leaf: TraitIs) -> str:
    purpose = bound("String", leaf.field.name)
    known = f"mapContains(consent, {purpose})"
    match leaf.comparison.operator:
        case "exists":
            return f"({known} = {int(bool(leaf.comparison.value))})"
        case "!=":
            return f"NOT ({known} AND consent[{purpose}] = {int(bool(leaf.comparison.value))})"
    return f"({known} AND consent[{purpose}] = {int(bool(leaf.comparison.value))})"


def _computed(bound: Bound, leaf: TraitIs, now: datetime) -> str:
    field, comparison = leaf.field, leaf.comparison
    match field.name:
        case "ltv":
            return micros_condition(bound, comparison, _LTV_MICROS)
        case "aov":
            return micros_condition(bound, comparison, _LTV_MICROS, per="greatest(order_count, 1)")
        case "purchaseCount":
            return number_condition(bound, comparison, "order_count")
        case "daysSinceLastPurchase":
            elapsed = f"{bound('Int64', epoch_ms(now))} - toUnixTimestamp64Milli(last_order_at)"
            return number_condition(bound, comparison, f"floor(({elapsed}) / {DAY_MS})")
        case "currency":
            return text_condition(bound, comparison, "nullIf(toString(currency), '')")
    return time_condition(bound, comparison, f"toUnixTimestamp64Milli({TIME_COLUMNS[field.name]})", now)


def ltv_micros(bound: Bound) -> str:
    """What conditions over revenue need before them: millionths of the major unit, comparable in any currency."""
    codes = bound("Array(String)", tuple(EXPONENTS))
    factors = bound("Array(Int64)", tuple(10 ** (MICROS - digits) for digits in EXPONENTS.values()))
    micros = f"toInt128(ltv_minor) * transform(currency, {codes}, {factors}, {10 ** (MICROS - 2)})"
    return f"WITH {micros} AS {_LTV_MICROS} "
