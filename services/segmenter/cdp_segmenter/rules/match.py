"""A rule and the facts of one profile -> yes or no, in memory: the reading that says what every other must answer.

What a fact must be to satisfy an operator is written down once, here:

* A missing fact (absent, null, an empty object) satisfies ``!=``, ``not_in``, ``none`` and ``exists: false``, nothing
  else: those four are exact opposites of ``=``, ``in``, ``any`` and ``exists: true``.
* Types are strict: the text "5" is not the number 5, true is not 1. Numbers compare as 64-bit floats, so 5 is 5.0.
* Texts compare exactly: case matters, no wildcard is special. ``matches`` is an RE2 search whose dot takes newlines.
* ``>``, ``<``, ``between`` take numbers, or instants: then a text that is a date or timestamp compares by time.
* ``contains`` asks a text for a part, a list for an item. ``any``, ``all`` and ``none`` ask a list for items.
* An identifier kind is a set of texts: a test holds when it holds for one of them.
* Money is exact: ``computed.ltv > 1000`` compares minor units. ``aov`` is ltv / orders, not rounded, 0 without orders.
* ``within_last`` d: now - d < t <= now. A window of events: t > now - d. ``sum`` adds numbers only, in millionths.
"""

from collections.abc import Iterable
from datetime import datetime, timedelta
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final

from cdp_schemas.event_names import names_matching
from cdp_schemas.money import to_major
from cdp_segmenter.rules.ast import (
    And,
    Comparison,
    EventCondition,
    Field,
    InSegment,
    ItemsAre,
    Not,
    Or,
    PropertyIs,
    Rule,
    TraitIs,
)
from cdp_segmenter.rules.compare import exists, negated, satisfied
from cdp_segmenter.rules.facts import ELSEWHERE, Event, Facts
from cdp_segmenter.rules.times import whole_ms

_DAY: Final = timedelta(days=1)
_LARGEST_ADDEND: Final = 1e12


def match(rule: Rule, facts: Facts, now: datetime) -> bool:
    """Whether the profile satisfies the rule at ``now``."""
    now = whole_ms(now)
    match rule:
        case And(conditions):
            return all(match(condition, facts, now) for condition in conditions)
        case Or(conditions):
            return any(match(condition, facts, now) for condition in conditions)
        case Not(condition):
            return not match(condition, facts, now)
        case TraitIs(field, comparison):
            return holds(field, comparison, seen(field, facts, now), now)
        case EventCondition(comparison=comparison):
            return satisfied(comparison, aggregate(rule, facts.events, now), now)
        case InSegment(segment_id):
            return segment_id in facts.segments
    raise TypeError(f"{type(rule).__name__} is no condition of a profile")


def seen(field: Field, facts: Facts, now: datetime) -> Any:
    """What the profile holds under a field; None when it is missing."""
    match field.space:
        case "attributes":
            return _trait(facts, field.name)
        case "consent":
            return facts.consent.get(field.name)
        case "identifiers":
            return facts.identifiers.get(field.name) or None
    return _computed(field.name, facts, whole_ms(now))


def holds(field: Field, comparison: Comparison, value: Any, now: datetime) -> bool:
    """Whether what the profile holds under a field satisfies a comparison."""
    if field.kind != "names" or comparison.operator in ("exists", "any", "all", "none"):
        return satisfied(comparison, list(value) if isinstance(value, tuple) else value, now)
    if positive := negated(comparison):
        return not holds(field, positive, value, now)
    return any(satisfied(comparison, text, now) for text in value or ())


def aggregate(condition: EventCondition, events: Iterable[Event], now: datetime) -> Any:
    """The aggregate over the events that a condition counts: a number, or an instant or None."""
    counted = [event for event in events if _counts(condition, event, now)]
    times = [event.timestamp for event in counted]
    match condition.aggregate:
        case "count":
            return float(len(counted))
        case "first":
            return min(times, default=None)
        case "last":
            return max(times, default=None)
    return sum((_addend(dig(event.properties, condition.property)) for event in counted), Decimal(0))


def happens(condition: Rule, properties: Any) -> bool:
    """Whether one event (or one item of a list inside it) satisfies a filter."""
    match condition:
        case And(conditions):
            return all(happens(inner, properties) for inner in conditions)
        case Or(conditions):
            return any(happens(inner, properties) for inner in conditions)
        case Not(inner):
            return not happens(inner, properties)
        case PropertyIs(path, comparison):
            return satisfied(comparison, dig(properties, path), None)
        case ItemsAre(path, quantifier, inner):
            found = dig(properties, path)
            verdicts = [happens(inner, item) for item in found] if isinstance(found, list) else []
            if quantifier == "all":
                return bool(verdicts) and all(verdicts)
            return any(verdicts) is (quantifier == "any")
    raise TypeError(f"{type(condition).__name__} is no filter of events")


def dig(value: Any, path: tuple[str, ...]) -> Any:
    """What lies at the end of a path of keys; None when nothing does."""
    for key in path:
        value = value.get(key) if isinstance(value, dict) else None
    return value


def _trait(facts: Facts, name: str) -> Any:
    own = dig(facts.traits, tuple(name.split(".")))
    return _trait(facts, ELSEWHERE[name]) if name in ELSEWHERE and not exists(own) else own


def _computed(name: str, facts: Facts, now: datetime) -> Any:
    match name:
        case "ltv":
            return to_major(facts.ltv_minor, facts.currency)
        case "aov":
            return Fraction(to_major(facts.ltv_minor, facts.currency)) / max(facts.order_count, 1)
        case "purchaseCount":
            return float(facts.order_count)
        case "firstSeenDate":
            return facts.first_seen
        case "lastSeenDate":
            return facts.last_seen
        case "lastPurchaseDate":
            return facts.last_order_at
        case "daysSinceLastPurchase":
            return None if facts.last_order_at is None else float((now - facts.last_order_at) // _DAY)
    return facts.currency or None


def _counts(condition: EventCondition, event: Event, now: datetime) -> bool:
    if condition.window is not None and event.timestamp <= now - condition.window:
        return False
    if not any(event.name in names_matching(name) for name in condition.names):
        return False
    return condition.filters is None or happens(condition.filters, event.properties)


def _addend(value: Any) -> Decimal:
    """A number in whole millionths; what is no number, or absurdly large, adds nothing."""
    if isinstance(value, bool) or not isinstance(value, int | float) or abs(value) >= _LARGEST_ADDEND:
        return Decimal(0)
    return Decimal(round(float(value) * 1e6)).scaleb(-6)
