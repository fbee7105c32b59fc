"""An explanation shows what was seen, in words, down to the last condition."""

from dataclasses import replace

from cdp_segmenter.explain import event_names, explain
from cdp_segmenter.rules.parse import parse
from tests.fakes.segmenter import NOW, did, profile

RULE = parse(
    {
        "operator": "OR",
        "conditions": [
            {"field": "computed.aov", "operator": ">", "value": 50},
            {"operator": "NOT", "conditions": [{"event": "purchase", "count": {"min": 1}, "window": "P7D"}]},
            {"field": "attributes.tags", "operator": "contains", "value": "vip"},
            {"segment": "segment-friends"},
        ],
    }
)
ADA = profile("ada", ltv_minor=10_000, order_count=3, traits={"tags": ["new", "eu"]}, events=(did("Completed Order"),))


def test_every_condition_says_what_it_saw() -> None:
    why = explain(RULE, ADA, NOW)
    assert (why.holds, why.seen) == (False, None)
    assert [(one.description, one.holds, one.seen) for one in why.inside] == [
        ("computed.aov is more than 50", False, "33.33"),
        ('not (did "purchase" at least 1 time in the last 7 days)', False, None),
        ('attributes.tags contains "vip"', False, '"new", "eu"'),
        ("is a member of segment-friends", False, "no member"),
    ]
    assert why.inside[1].inside[0].seen == "1"


def test_a_missing_fact_is_called_missing() -> None:
    why = explain(RULE, replace(ADA, traits={}, segments=frozenset({"segment-friends"})), NOW)
    assert (why.holds, why.inside[2].seen, why.inside[3].seen) == (True, "missing", "a member")


def test_only_events_that_matter_are_asked_for() -> None:
    assert event_names(RULE) == ["Completed Order", "Order Completed", "purchase"]
