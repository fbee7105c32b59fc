"""The second reading of rules agrees with the first on what both know, and says so when it knows less."""

import random
from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID

import pytest

from cdp_segmenter.rules import facts as theirs
from cdp_segmenter.rules.match import match
from cdp_segmenter.rules.parse import parse
from cdp_verify.rules import CannotJudge, Facts, Happened, holds

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
LEAVES: list[dict[str, Any]] = [
    {"field": "attributes.country", "operator": "=", "value": "NL"},
    {"field": "attributes.country", "operator": "!=", "value": "NL"},
    {"field": "attributes.age", "operator": "between", "value": [18, 30]},
    {"field": "attributes.age", "operator": "in", "value": [18, 31]},
    {"field": "attributes.tags", "operator": "any", "value": ["a", "b"]},
    {"field": "attributes.tags", "operator": "none", "value": ["a"]},
    {"field": "attributes.born", "operator": "<", "value": "2000-01-01"},
    {"field": "attributes.seen", "operator": "within_last", "value": "P7D"},
    {"field": "attributes.nested.city", "operator": "starts_with", "value": "Am"},
    {"field": "attributes.nested", "operator": "exists", "value": False},
    {"field": "computed.ltv", "operator": ">", "value": 99.99},
    {"field": "computed.aov", "operator": "<=", "value": 50},
    {"field": "computed.purchaseCount", "operator": ">=", "value": 2},
    {"field": "computed.daysSinceLastPurchase", "operator": ">", "value": 3},
    {"field": "computed.lastPurchaseDate", "operator": "within_last", "value": "P5D"},
    {"field": "consent.email", "operator": "=", "value": True},
    {"field": "consent.email", "operator": "!=", "value": True},
    {"field": "identifiers.email", "operator": "contains", "value": "@example"},
    {"field": "identifiers.email", "operator": "!=", "value": "a@example.com"},
    {"segment": "other"},
    {"event": "Product Viewed"},
    {"event": "Product Viewed", "count": {"min": 2, "max": 3}, "window": "P3D"},
    {"event": "purchase", "sum": {"property": "revenue", "min": 20.5}},
    {"event": ["Product Viewed", "purchase"], "first": {"operator": "<", "value": "2026-11-18"}},
    {"event": "purchase", "last": {"operator": "within_last", "value": "PT12H"}},
    {"event": "purchase", "count": 1, "filters": [{"property": "category", "operator": "=", "value": "shoes"}]},
]


def random_profile(chance: random.Random) -> dict[str, Any]:
    def maybe(*values: Any) -> Any:
        return chance.choice((None, *values))

    traits = {
        "country": maybe("NL", "DE", 5),
        "age": maybe(17, 18, 30.0, 31, "18"),
        "tags": maybe(["a"], ["b", "c"], [], "ab"),
        "born": maybe("1999-12-31", "2000-01-01T00:00:00Z", "long ago"),
        "seen": maybe("2026-11-19", "2026-11-13T12:00:00Z", "2027-01-01"),
        "nested": maybe({"city": "Amsterdam"}, {}, {"city": None}),
    }
    names = ("Product Viewed", "Order Completed", "Completed Order", "Cart Viewed")
    events = [
        (
            chance.choice(names),
            NOW - timedelta(hours=chance.choice((1, 12, 30, 72, 100))),
            {"revenue": chance.choice((10, 10.25, "10", None)), "category": chance.choice(("shoes", "hats"))},
        )
        for _ in range(chance.randrange(6))
    ]
    return {
        "traits": {name: value for name, value in traits.items() if value is not None},
        "consent": chance.choice(({}, {"email": True}, {"email": False})),
        "identifiers": chance.choice(({}, {"email": ("a@example.com", "b@other.org")})),
        "money": (chance.choice(("USD", "JPY")), chance.choice((0, 100, 9999, 10000)), chance.randrange(4)),
        "last_order_at": maybe(NOW - timedelta(days=2), NOW - timedelta(days=5), NOW - timedelta(days=9)),
        "segments": chance.choice((frozenset(), frozenset(("other",)))),
        "events": events,
    }


def random_rule(chance: random.Random, depth: int = 2) -> dict[str, Any]:
    if depth == 0 or chance.random() < 0.3:
        return chance.choice(LEAVES)
    conditions = [random_rule(chance, depth - 1) for _ in range(chance.randrange(1, 4))]
    return {"operator": chance.choice(("AND", "OR", "NOT")), "conditions": conditions}


def both(rule: dict[str, Any], made: dict[str, Any]) -> tuple[bool, bool]:
    currency, ltv, orders = made["money"]
    mine = Facts(
        made["traits"], made["consent"], made["identifiers"], currency, ltv, orders, NOW, NOW, made["last_order_at"],
        made["segments"], [Happened(*event) for event in made["events"]],
    )  # fmt: skip
    known = theirs.Facts(
        UUID(int=1),
        traits=made["traits"], consent=made["consent"], identifiers=made["identifiers"], currency=currency,
        ltv_minor=ltv, order_count=orders, first_seen=NOW, last_seen=NOW, last_order_at=made["last_order_at"],
        segments=made["segments"], events=tuple(theirs.Event(*event) for event in made["events"]),
    )  # fmt: skip
    return holds(rule, mine, NOW), match(parse(rule), known, NOW)


def test_both_readings_agree() -> None:
    chance = random.Random(20)
    for _ in range(1000):
        rule, made = random_rule(chance), random_profile(chance)
        mine, other = both(rule, made)
        assert mine is other, (rule, made)


@pytest.mark.parametrize("leaf", LEAVES, ids=str)
def test_every_leaf_is_met_by_some_and_missed_by_others(leaf: dict[str, Any]) -> None:
    chance = random.Random(4)
    assert {both(leaf, random_profile(chance))[0] for _ in range(400)} == {True, False}


@pytest.mark.parametrize(
    "rule",
    [
        {"field": "attributes.country", "operator": "matches", "value": "^N"},
        {"event": "purchase", "filters": [{"property": "products[].sku", "operator": "=", "value": "x"}]},
        {"field": "weather.today", "operator": "=", "value": "rain"},
    ],
)
def test_what_it_does_not_know_it_does_not_judge(rule: dict[str, Any]) -> None:
    facts = Facts({"country": "NL"}, {}, {}, "USD", 0, 0, NOW, NOW, None, events=[Happened("Order Completed", NOW, {})])
    with pytest.raises(CannotJudge):
        holds(rule, facts, NOW)
