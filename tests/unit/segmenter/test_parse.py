"""Faults of a rule are found all at once, each with its path and a sentence for its author."""

from typing import Any

import pytest

from cdp_segmenter.rules.check import InvalidRule
from cdp_segmenter.rules.parse import parse

DEEP: dict[str, Any] = {"field": "attributes.a", "operator": "=", "value": 1}
for _ in range(11):
    DEEP = {"operator": "AND", "conditions": [DEEP]}
VERY_DEEP: Any = {}
for _ in range(900):
    VERY_DEEP = {"operator": "AND", "conditions": [VERY_DEEP]}


def trait(field: Any, operator: Any = "=", *value: Any, **more: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, **({"value": value[0]} if value else {}), **more}


def event(**more: Any) -> dict[str, Any]:
    return {"event": "purchase", **more}


def filtered(**more: Any) -> dict[str, Any]:
    return event(filters=[more])


CASES: list[tuple[Any, str, str]] = [
    (None, "rules", "give an object"),
    ([], "rules", "give an object"),
    ({}, "rules", "give field, event, segment"),
    ({"operator": "AND"}, "rules.conditions", "list of conditions"),
    ({"operator": "XOR", "conditions": [trait("attributes.a", "=", 1)]}, "rules.operator", "there is no group 'XOR'"),
    ({"operator": "AND", "conditions": []}, "rules.conditions", "1 to 200"),
    ({"operator": "AND", "conditions": "x"}, "rules.conditions", "1 to 200"),
    ({"operator": "OR", "conditions": [1]}, "rules.conditions[0]", "give an object"),
    (DEEP, "rules", "nested 12 deep"),
    (VERY_DEEP, "rules", "more than 40 deep"),
    (trait("attributes.a", "~~", 1), "rules.operator", "there is no operator '~~': there are =, !="),
    (trait("attributes.a", ["="], 1), "rules.operator", "there is no operator"),
    (trait("attributes.a", "="), "rules.value", "a value is needed"),
    (trait("attributes.a", "=", None), "rules.value", "a value is needed"),
    (trait("attributes.a", "=", {"b": 1}), "rules.value", "give a text, a number"),
    (trait("attributes.a", "=", float("nan")), "rules.value", "too large"),
    (trait("attributes.a", "=", "a\0b"), "rules.value", "no stored text can hold"),
    (trait("attributes.a", "=", "\ud800"), "rules.value", "no stored text can hold"),
    (trait("attributes.a", "=", "x" * 1001), "rules.value", "1,000 characters"),
    (trait("attributes.a", ">", "ten"), "rules.value", "give a date"),
    (trait("attributes.a", ">", True), "rules.value", "give a number"),
    (trait("attributes.a", "=", 10**400), "rules.value", "too large"),
    (trait("computed.ltv", "<", -(10**400)), "rules.value", "too large"),
    (trait("attributes.a", "=", float("nan")), "rules.value", "too large"),
    (trait("attributes.a", "between", [1]), "rules.value", "lowest and the highest"),
    (trait("attributes.a", "between", [2, 1]), "rules.value", "lowest value must come first"),
    (trait("attributes.a", "between", [1, "2026-01-01"]), "rules.value", "numbers, or both dates"),
    (trait("attributes.a", "in", []), "rules.value", "at least one value"),
    (trait("attributes.a", "in", "a"), "rules.value", "give a list"),
    (trait("attributes.a", "in", list(range(1001))), "rules.value", "at most 1,000"),
    (trait("attributes.a", "contains", ""), "rules.value", "must not be empty"),
    (trait("attributes.a", "matches", "(?<=x)y"), "rules.value", "no RE2 pattern"),
    (trait("attributes.a", "matches", "a" * 501), "rules.value", "at most 500"),
    (trait("attributes.a", "within_last", "P1M"), "rules.value", "P30D"),
    (trait("attributes.a", "within_last", 0), "rules.value", "between one second and ten years"),
    (trait("attributes.a", "exists", "yes"), "rules.value", "true or false"),
    (trait("attributes.a`; DROP TABLE x", "=", 1), "rules.field", "is no name of a trait"),
    (trait("attributes.", "=", 1), "rules.field", "is no name of a trait"),
    (trait("traits.a", "=", 1), "rules.field", "there is no field 'traits.a'"),
    (trait("computed.churnRisk", ">", 1), "rules.field", "there are ltv, aov"),
    (trait("computed.ltv", "contains", 1), "rules.operator", "does not apply to computed.ltv"),
    (trait("computed.ltv", ">", 0.0000001), "rules.value", "at most 6 decimals"),
    (trait("computed.ltv", ">", "100"), "rules.value", "give a number"),
    (trait("computed.lastPurchaseDate", ">", "2026-02-30"), "rules.value", "give a date"),
    (trait("consent.email", "=", "yes"), "rules.value", "true or false"),
    (trait("consent.e mail", "=", True), "rules.field", "a purpose"),
    (trait(7, "=", 1), "rules.field", "give the name of a field"),
    (trait("attributes.a", "=", 1, wieght=2), "rules.wieght", "this is not known here"),
    (event(window="90 days"), "rules.window", "P30D"),
    (event(window="P1D", timeWindow=1), "rules.timeWindow", "not both"),
    (event(event=""), "rules.event", "name or type"),
    (event(event=[]), "rules.event", "name or type"),
    (event(count={"min": "three"}), "rules.count.min", "give a number"),
    (event(count={"min": 3, "max": 1}), "rules.count.max", "must not be below min"),
    (event(count="3"), "rules.count", "give an object"),
    (event(count=1, sum={"property": "x", "min": 1}), "rules", "give one of count, sum"),
    (event(sum={"min": 1}), "rules.sum.property", "numeric property"),
    (event(aggregate="median"), "rules.aggregate", "there is no aggregate 'median'"),
    (event(last={"operator": "in", "value": ["2026-01-01"]}), "rules.last.operator", "does not apply"),
    (event(first={"min": 1}), "rules.first", "operator and value"),
    (event(filters="x"), "rules.filters", "give a list"),
    (filtered(operator="=", value=1), "rules.filters[0].property", "path of a property"),
    (filtered(property="a..b", operator="=", value=1), "rules.filters[0].property", "is no path"),
    (filtered(property="a", operator="within_last", value=1), "rules.filters[0].operator", "does not apply"),
    (filtered(property="p[]", operator="some", where=[]), "rules.filters[0].operator", "any, all or none"),
    *(
        (filtered(property="a[]" * lists, operator="exists"), "rules.filters[0].property", "lists are nested more than")
        for lists in (11, 400, 3000)
    ),
    (
        filtered(property="a[]", where=[{"property": "[]" * 3000, "operator": "exists"}]),
        "rules.filters[0].where[0].property",
        "lists are nested more than 10 deep",
    ),
    ({"segment": 7}, "rules.segment", "id of a segment"),
    ({"segment": "segment-1", "operator": "near"}, "rules.operator", "in or not_in"),
]
# what earlier releases accepted, where the fault is, and what they made of it
SKU = {"property": "sku", "operator": "=", "value": "A"}
WITHIN = {"operator": "within_last", "value": "P7D"}
OVER_100 = {"operator": ">", "value": 100}
PASSED_OVER: list[tuple[dict[str, Any], str, str, dict[str, Any]]] = [
    (event(count={"minimum": 5}), "rules.count.minimum", "there are min, max, operator, value", event()),
    (
        event(count={"operator": ">=", "value": 5, "timeWindow": "P30D"}),
        "rules.count.timeWindow",
        "not known here",
        event(count=5),
    ),
    (event(count=1, operator=">=", value=5), "rules.operator", "no meaning beside count", event(count=1)),
    (event(count=1, operator=">=", value=5), "rules.value", "no meaning beside count", event(count=1)),
    (event(aggregate="sum", count={"min": 2}), "rules.aggregate", "no meaning beside count", event(count=2)),
    (
        event(sum={"property": "revenue", **OVER_100, "window": "P30D"}),
        "rules.sum.window",
        "not known here",
        event(sum={"property": "revenue", **OVER_100}),
    ),
    (event(last={**WITHIN, "filters": [SKU]}), "rules.last.filters", "not known here", event(last=WITHIN)),
    (event(property="revenue", **OVER_100), "rules.property", "only sum reads a property", event(**OVER_100)),
    (
        event(aggregate="last", property="at", **WITHIN),
        "rules.property",
        "only sum reads a property",
        event(last=WITHIN),
    ),
    (event(count={"property": "sku", "min": 3}), "rules.count.property", "only sum reads a property", event(count=3)),
    (filtered(**SKU, field="color"), "rules.filters[0].field", "not both", filtered(**SKU)),
    *(
        (
            filtered(property=f"products[].{inner}", operator=quantifier, where=[SKU]),
            "rules.filters[0].property",
            "where tests the items of products[]",
            filtered(property="products[]", operator=quantifier, where=[SKU]),
        )
        for inner in ("variants[]", "variants")
        for quantifier in ("any", "none")
    ),
    (filtered(property="products[]", where=None), "rules.filters[0].where", "give a list", event(filters=[])),
    (event(filters=[SKU, None]), "rules.filters[1]", "give a list", event(filters=[SKU])),
    (
        event(filters={"operator": "OR", "conditions": [SKU, None]}),
        "rules.filters.conditions[1]",
        "give a list",
        event(filters={"operator": "OR", "conditions": [SKU]}),
    ),
]


@pytest.mark.parametrize(("rule", "path", "message"), [*CASES, *(case[:3] for case in PASSED_OVER)])
def test_a_fault_has_its_path_and_its_words(rule: Any, path: str, message: str) -> None:
    with pytest.raises(InvalidRule) as refused:
        parse(rule)
    assert any(fault.path == path and message in fault.message for fault in refused.value.faults), refused.value.faults


@pytest.mark.parametrize("kind", ["userId", "anonymousIds", "userid", "email_address", "Email"])
def test_a_kind_of_identifier_that_nobody_can_have_is_refused_unless_it_is_stored(kind: str) -> None:
    rule = trait(f"identifiers.{kind}", "exists", True)
    with pytest.raises(InvalidRule, match=r"rules.field: nobody has .* there are user_id, anonymous_id"):
        parse(rule)
    assert parse(rule, is_stored=True)
    assert parse(trait("identifiers.customer_no", "exists", True))


def test_all_faults_come_together() -> None:
    rule = {
        "operator": "AND",
        "conditions": [trait("x", "=", 1), {"operator": "NOT", "conditions": [event(window="x")]}],
    }
    with pytest.raises(InvalidRule) as refused:
        parse(rule)
    assert [fault.path for fault in refused.value.faults] == [
        "rules.conditions[0].field",
        "rules.conditions[1].conditions[0].window",
    ]


@pytest.mark.parametrize(("rule", "meant"), [(case[0], case[3]) for case in PASSED_OVER])
def test_what_is_stored_goes_on_to_mean_what_it_meant(rule: Any, meant: Any) -> None:
    assert parse(rule, is_stored=True) == parse(meant)


@pytest.mark.parametrize(("rule", "path"), [(trait("attributes.a", "=", 1, wieght=2), "rules.wieght"), (None, "rules")])
def test_what_no_release_accepted_is_refused_of_what_is_stored_too(rule: Any, path: str) -> None:
    with pytest.raises(InvalidRule, match=f"^{path}: "):
        parse(rule, is_stored=True)


def test_what_is_left_empty_is_left_out() -> None:
    assert parse(event(filters=None, window=None, operator=None, count={"min": None, "max": 3})) == parse(
        event(count={"max": 3})
    )


def test_a_rule_has_a_price() -> None:
    many = [event(window=days, filters=[trait_filter(days)]) for days in range(1, 60)]
    with pytest.raises(InvalidRule, match="costs 590 points"):
        parse({"operator": "OR", "conditions": many})


def trait_filter(days: int) -> dict[str, Any]:
    return {"property": "a", "operator": ">", "value": days}
