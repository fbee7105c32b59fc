"""The JSON of a segment's rule and the facts of a profile -> member or not, read a second time from its documentation.

It shares no code with what keeps memberships, and knows fewer words: a rule with others raises CannotJudge.
"""

import operator
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from decimal import Decimal
from fractions import Fraction
from typing import Any, Final, cast

from cdp_schemas.event_names import names_matching
from cdp_schemas.money import to_major
from cdp_verify.times import BadTime, instant, length


class CannotJudge(Exception):
    """A word of the rule that this reading does not know."""


@dataclass(frozen=True, slots=True)
class Happened:
    """One event of the profile."""

    name: str
    at: datetime
    properties: Mapping[str, Any]


@dataclass(slots=True)
class Facts:
    """What the stores say of one profile. Money in minor units, times aware and in whole milliseconds."""

    traits: Mapping[str, Any]
    consent: Mapping[str, bool]
    identifiers: Mapping[str, Sequence[str]]
    currency: str
    ltv_minor: int
    order_count: int
    first_seen: datetime | None
    last_seen: datetime | None
    last_order_at: datetime | None
    segments: frozenset[str] = frozenset()
    events: Sequence[Happened] = field(default_factory=tuple)


_ABSENT: Final = frozenset(("!=", "not_in", "none"))  # what a missing fact satisfies
_ORDER: Final[Mapping[str, Callable[[Any, Any], Any]]] = {
    ">": operator.gt,
    "<": operator.lt,
    ">=": operator.ge,
    "<=": operator.le,
}
_GROUPS: Final[Mapping[str, Callable[[Any], bool]]] = {"AND": all, "OR": any, "NOT": lambda found: not any(found)}


def holds(rule: Mapping[str, Any], facts: Facts, now: datetime) -> bool:
    """Whether the profile satisfies the rule. Raises CannotJudge."""
    if "conditions" in rule:
        return _group(rule, lambda inner: holds(inner, facts, now))
    if "event" in rule:
        return _event(rule, facts, now)
    if "segment" in rule or rule.get("field") == "segments":
        named = rule.get("segment", rule.get("value"))
        return (named in facts.segments) is (rule.get("operator", "in") not in ("not_in", "!="))
    return _trait(rule, facts, now)


def event_names(rule: Mapping[str, Any]) -> frozenset[str]:
    """Every stored name of an event that the rule asks for."""
    if "conditions" in rule:
        return frozenset().union(*(event_names(inner) for inner in rule["conditions"]))
    named = rule.get("event", ())
    listed = [named] if isinstance(named, str) else named
    return frozenset(stored for name in listed for stored in names_matching(name))


def _group(rule: Mapping[str, Any], judge: Callable[[Mapping[str, Any]], bool]) -> bool:
    # every condition is read, so that an unknown word is found whatever the others say
    return _GROUPS[rule.get("operator", "AND")]([judge(inner) for inner in rule["conditions"]])


def _trait(rule: Mapping[str, Any], facts: Facts, now: datetime) -> bool:
    space, _, name = str(rule["field"]).partition(".")
    match space:
        case "attributes":
            return test(rule, _dig(facts.traits, name.removeprefix("customFields.")), now)
        case "consent":
            return test(rule, facts.consent.get(name), now)
        case "identifiers":
            return _identifiers(rule, list(facts.identifiers.get(name, ())), now)
        case "computed":
            return test(rule, _computed(name, facts, now), now)
    raise CannotJudge(f"the field {rule['field']}")


def _identifiers(rule: Mapping[str, Any], values: list[str], now: datetime) -> bool:
    asked = rule["operator"]
    if asked in ("exists", "any", "all", "none"):
        return test(rule, values or None, now)
    opposite = {"!=": "=", "not_in": "in"}.get(asked)
    if opposite:
        return not _identifiers({**rule, "operator": opposite}, values, now)
    return any(test(rule, value, now) for value in values)


def _computed(name: str, facts: Facts, now: datetime) -> Any:
    ltv = Fraction(to_major(facts.ltv_minor, facts.currency))
    known: dict[str, Any] = {
        "ltv": ltv,
        "aov": ltv / max(facts.order_count, 1),
        "purchaseCount": facts.order_count,
        "firstSeenDate": facts.first_seen,
        "lastSeenDate": facts.last_seen,
        "lastPurchaseDate": facts.last_order_at,
        "daysSinceLastPurchase": None if facts.last_order_at is None else (now - facts.last_order_at).days,
        "currency": facts.currency or None,
    }
    if name not in known:
        raise CannotJudge(f"the field computed.{name}")
    return known[name]


def _event(rule: Mapping[str, Any], facts: Facts, now: datetime) -> bool:
    names, since = event_names(rule), rule.get("window", rule.get("timeWindow"))
    filters = rule.get("filters")
    counted = [
        event
        for event in facts.events
        if event.name in names
        and (since is None or event.at > now - length(since))
        and (filters is None or _filtered(filters, event.properties, now))
    ]
    aggregate, asked = _aggregate(rule)
    match aggregate:
        case "count":
            value: Any = len(counted)
        case "sum":
            value = sum((_addend(_dig(event.properties, asked["property"])) for event in counted), Fraction())
        case "first":
            value = min((event.at for event in counted), default=None)
        case _:
            value = max((event.at for event in counted), default=None)
    return _ranged(asked, value, now)


def _aggregate(rule: Mapping[str, Any]) -> tuple[str, Mapping[str, Any]]:
    for name in ("count", "sum", "first", "last"):
        if name in rule:
            asked = rule[name]
            return name, {"min": asked} if isinstance(asked, int) else asked
    flat = {key: rule[key] for key in ("property", "operator", "value") if key in rule}
    return rule.get("aggregate", "count"), flat


def _ranged(asked: Mapping[str, Any], value: Any, now: datetime) -> bool:
    if "operator" in asked:
        return test(asked, value, now)
    if asked.get("min") is None and asked.get("max") is None:
        return bool(value >= 1)
    low, high = asked.get("min"), asked.get("max")
    return (low is None or value >= _exact(low)) and (high is None or value <= _exact(high))


def _filtered(filters: Any, properties: Mapping[str, Any], now: datetime) -> bool:
    if isinstance(filters, list):
        return _GROUPS["AND"]([_filtered(one, properties, now) for one in filters])
    if "conditions" in filters:
        return _group(filters, lambda inner: _filtered(inner, properties, now))
    path = str(filters.get("property", filters.get("field"))).removeprefix("properties.")
    if "[]" in path or "where" in filters:
        raise CannotJudge("conditions of list items")
    return test(filters, _dig(properties, path), now)


def test(asked: Mapping[str, Any], seen: Any, now: datetime) -> bool:
    """One operator and what is there; None is missing. Raises CannotJudge."""
    word, wanted = asked["operator"], cast(Any, asked.get("value"))
    if word == "exists":
        return _is_there(seen) is (True if wanted is None else wanted)
    if word in _ABSENT:
        opposite = {"!=": "=", "not_in": "in", "none": "any"}[word]
        return not test({"operator": opposite, "value": wanted}, seen, now)
    if seen is None:
        return False
    if word in _ORDER:
        return _ordered(_ORDER[word], seen, wanted)
    match word:
        case "=":
            return _same(seen, wanted)
        case "in":
            return any(_same(seen, one) for one in wanted)
        case "between":
            return _ordered(operator.ge, seen, wanted[0]) and _ordered(operator.le, seen, wanted[1])
        case "contains":
            return _contains(seen, wanted)
        case "starts_with":
            return isinstance(seen, str) and seen.startswith(wanted)
        case "any" | "all":
            holds_for = [_contains(seen, one) for one in wanted] if isinstance(seen, list) else [False]
            return any(holds_for) if word == "any" else all(holds_for)
        case "within_last":
            at = _moment(seen)
            return at is not None and now - length(wanted) < at <= now
    raise CannotJudge(f"the operator {word}")


def _same(seen: Any, wanted: Any) -> bool:
    if isinstance(seen, datetime):
        return seen == _moment(wanted)
    if isinstance(seen, bool) or isinstance(wanted, bool):
        return seen is wanted
    if isinstance(seen, str) or isinstance(wanted, str):
        return bool(seen == wanted)
    left, right = _number(seen), _number(wanted)
    return left is not None and right is not None and left == right


def _ordered(compare: Callable[[Any, Any], Any], seen: Any, wanted: Any) -> bool:
    if isinstance(wanted, str):
        left, right = _moment(seen), _moment(wanted)
        return left is not None and right is not None and bool(compare(left, right))
    if isinstance(seen, Fraction):
        return bool(compare(seen, _exact(wanted)))
    number = _number(seen)
    return number is not None and bool(compare(number, _number(wanted)))


def _contains(seen: Any, part: Any) -> bool:
    if isinstance(seen, str):
        return isinstance(part, str) and part in seen
    return isinstance(seen, list) and any(_same(one, part) for one in seen)


def _number(value: Any) -> Any:
    if isinstance(value, Fraction):
        return value
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return _exact(value) if is_number else None


def _exact(value: Any) -> Fraction:
    return Fraction(Decimal(str(value)))


def _addend(value: Any) -> Fraction:
    number = None if isinstance(value, Fraction) else _number(value)
    return Fraction() if number is None or abs(number) >= 10**12 else Fraction(round(float(number) * 1e6), 10**6)


def _moment(value: Any) -> datetime | None:
    if isinstance(value, datetime):
        return value.astimezone(UTC)
    try:
        return instant(value) if isinstance(value, str) else None
    except BadTime:
        return None


def _is_there(seen: Any) -> bool:
    return any(map(_is_there, seen.values())) if isinstance(seen, dict) else seen is not None


def _dig(value: Any, path: str) -> Any:
    for key in path.split("."):
        value = value.get(key) if isinstance(value, Mapping) else None
    return value
