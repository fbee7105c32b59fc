"""Random rules over random profiles: memory and ClickHouse give the same members, also at the edge of every window."""

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any
from uuid import UUID

import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st

from cdp_clickhouse.client import ClickHouse
from cdp_runtime.migrate import migrate_clickhouse
from cdp_segmenter.due import due_sql
from cdp_segmenter.rules.ast import Rule
from cdp_segmenter.rules.check import InvalidRule
from cdp_segmenter.rules.describe import describe
from cdp_segmenter.rules.facts import Event, Facts
from cdp_segmenter.rules.match import match
from cdp_segmenter.rules.parse import parse
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.times import EPOCH, epoch_ms
from tests.fakes.segmenter import DAY, MS, NOW, profile, profile_id, write_facts

from .asking import members_decided, members_in_store

NAMES = ["Order Completed", "Completed Order", "Page Viewed", "Signed In"]
WINDOWS = {"PT1H": timedelta(hours=1), "P1D": DAY, "P30D": 30 * DAY}
TEXTS = st.sampled_from(
    ["", "a", "A", "ab", "a%", "a_b", "é", "5", "true", "2026-02-01", "2026-11-20T11:00:00.001Z", "x\ny"]
)
NUMBERS = st.one_of(
    st.sampled_from([0, 1, 5, 5.0, -1, 0.1, 0.30000000000000004, 2**53 + 1, 1e15, -(2**63), 2**64 - 1, 1e-7, 1e22]),
    st.integers(-(2**63), 2**64 - 1),
    st.floats(allow_nan=False, allow_infinity=False, min_value=-1e200, max_value=1e200),
)
SCALARS = st.one_of(TEXTS, NUMBERS, st.booleans())
JSON = st.one_of(
    SCALARS,
    st.none(),
    st.lists(st.one_of(SCALARS, st.none()), max_size=3),
    st.fixed_dictionaries({}, optional={"b": SCALARS, "c": st.lists(TEXTS, max_size=2)}),
)
EDGES = [edge + step for edge in (*WINDOWS.values(), timedelta(0)) for step in (-MS, timedelta(0), MS)]
TIMES = st.sampled_from([NOW - edge for edge in EDGES] + [NOW - 400 * DAY])
ITEMS = st.lists(st.fixed_dictionaries({}, optional={"price": NUMBERS, "sku": TEXTS, "tags": JSON}), max_size=3)
PROPERTIES = st.fixed_dictionaries({}, optional={"a": JSON, "revenue": NUMBERS, "products": st.one_of(ITEMS, JSON)})
EVENTS = st.builds(Event, st.sampled_from(NAMES), TIMES, PROPERTIES)
PLACE = st.one_of(TEXTS, st.fixed_dictionaries({}, optional={"city": JSON}))
PROFILES = st.builds(
    profile,
    traits=st.fixed_dictionaries({}, optional={"a": JSON, "n": JSON, "t e": TEXTS, "city": JSON, "address": PLACE}),
    identifiers=st.dictionaries(
        st.sampled_from(["email", "phone"]), st.lists(TEXTS, max_size=2).map(tuple), max_size=2
    ),
    consent=st.dictionaries(st.sampled_from(["email", "sms"]), st.booleans()),
    currency=st.sampled_from(["USD", "JPY", "KWD"]),
    ltv_minor=st.integers(-(10**6), 10**6),
    order_count=st.integers(0, 4),
    first_seen=TIMES,
    last_seen=TIMES,
    last_order_at=st.one_of(st.none(), TIMES),
    events=st.lists(EVENTS, max_size=5).map(tuple),
    segments=st.frozensets(st.sampled_from(["segment-1", "segment-2"])),
)


def _operand(operator: str, scalars: st.SearchStrategy[Any]) -> st.SearchStrategy[Any]:
    if operator in ("in", "not_in", "any", "all", "none"):
        return st.lists(scalars, min_size=1, max_size=3)
    if operator == "between":
        return st.lists(scalars, min_size=2, max_size=2)
    if operator == "within_last":
        return st.sampled_from([*WINDOWS, 30])
    if operator == "matches":
        return st.sampled_from(["^a", "a.b", "[0-9]$", "é|b", "(?i)A", "x.y"])
    return st.booleans() if operator == "exists" else scalars


OPERATORS = "= != > < >= <= between contains starts_with matches in not_in any all none exists within_last".split()
VALUES = st.one_of(SCALARS, st.sampled_from([100, 33.34, -0.5, "2026-11-20T12:00:00Z", "2026-10-21"]))


@st.composite
def comparing(draw: st.DrawFn, key: str, names: list[str]) -> dict[str, Any]:
    operator = draw(st.sampled_from(OPERATORS))
    return {key: draw(st.sampled_from(names)), "operator": operator, "value": draw(_operand(operator, VALUES))}


FIELDS = [
    *("attributes.a", "attributes.a.b", "attributes.n", "attributes.t e", "attributes.city"),
    *("identifiers.email", "consent.email"),
    *("computed.ltv", "computed.aov", "computed.purchaseCount", "computed.lastPurchaseDate", "computed.firstSeenDate"),
    *("computed.daysSinceLastPurchase", "computed.currency"),
]
PROPERTY = comparing("property", ["a", "a.b", "revenue", "products[].price", "products[].sku", "products[].tags"])
WHERE = st.lists(comparing("property", ["price", "sku", "tags"]), min_size=1, max_size=2)
ITEM_FILTER = st.fixed_dictionaries(
    {"property": st.just("products[]"), "operator": st.sampled_from(["any", "all", "none"]), "where": WHERE}
)
FILTERS = st.lists(st.one_of(PROPERTY, ITEM_FILTER), max_size=2)


@st.composite
def event_rules(draw: st.DrawFn) -> dict[str, Any]:
    rule: dict[str, Any] = {"event": draw(st.sampled_from(["purchase", *NAMES]))}
    match draw(st.sampled_from(["once", "range", "flat", "sum", "first", "last"])):
        case "range":
            ends = sorted(draw(st.lists(st.integers(0, 3), min_size=2, max_size=2)))
            rule["count"] = draw(
                st.sampled_from([{"min": ends[0]}, {"max": ends[1]}, {"min": ends[0], "max": ends[1]}])
            )
        case "flat":
            rule |= {"aggregate": "count", "operator": draw(st.sampled_from(["=", "!=", ">", "<"])), "value": 1}
        case "sum":
            operator = draw(st.sampled_from(["=", "!=", ">", "<=", "between", "in"]))
            rule["sum"] = {"property": "revenue", "operator": operator, "value": draw(_operand(operator, VALUES))}
        case "first" | "last" as aggregate:
            operator = draw(st.sampled_from([">", "<=", "within_last", "between"]))
            rule[aggregate] = {"operator": operator, "value": draw(_operand(operator, VALUES))}
    if draw(st.booleans()):
        rule["window"] = draw(st.sampled_from(list(WINDOWS)))
    if filters := draw(FILTERS):
        rule["filters"] = filters
    return rule


CONDITIONS = st.one_of(
    comparing("field", FIELDS), event_rules(), st.fixed_dictionaries({"segment": st.sampled_from(["segment-1"])})
)


def parsed(given: dict[str, Any]) -> Rule | None:
    try:
        return parse(given)
    except InvalidRule:
        return None  # not every operator fits every field; what the parser refuses never reaches a reading


EXAMPLES = 12
RULES = st.recursive(
    CONDITIONS,
    lambda inner: st.fixed_dictionaries(
        {"operator": st.sampled_from(["AND", "OR", "NOT"]), "conditions": st.lists(inner, min_size=1, max_size=3)}
    ),
    max_leaves=4,
).map(parsed)


@pytest.mark.clickhouse
async def test_memory_and_clickhouse_agree(clickhouse_url: str) -> None:
    await migrate_clickhouse(clickhouse_url)
    store = ClickHouse(clickhouse_url)
    drawn: list[tuple[list[Rule], list[Facts]]] = []

    @settings(
        max_examples=EXAMPLES,
        phases=[Phase.generate],
        suppress_health_check=list(HealthCheck),
        database=None,
    )
    @given(st.lists(RULES, min_size=30, max_size=40), st.lists(PROFILES, min_size=25, max_size=30))
    def draw(rules: list[Rule | None], profiles: list[Facts]) -> None:
        drawn.append(([rule for rule in rules if rule is not None], profiles))

    draw()
    for index, (rules, profiles) in enumerate(drawn):
        named = [replace(facts, profile_id=profile_id(f"{index}-{n}")) for n, facts in enumerate(profiles)]
        await _agree(store, f"random-{index}", rules, named)
    await store.stop()


async def _agree(store: ClickHouse, workspace: str, rules: list[Rule], profiles: list[Facts]) -> None:
    await write_facts(store, workspace, profiles)
    await _due_in_time(store, workspace, rules, profiles)
    for scope in (
        Scope(workspace, NOW),
        Scope(workspace, NOW + MS, profiles=tuple(facts.profile_id for facts in profiles[:10])),
        Scope(workspace, NOW - MS, buckets=(0, 127)),
    ):
        asked = [
            facts
            for facts in profiles
            if (scope.profiles is None or facts.profile_id in scope.profiles)
            and (scope.buckets is None or facts.profile_id.bytes[8] <= scope.buckets[1])
        ]
        named = replace(scope, profiles=tuple(facts.profile_id for facts in asked), buckets=None)
        found = await members_in_store(store, rules, scope, profiles)
        decided, turning = await members_decided(store, rules, named, profiles)
        _turns_in_time(rules, asked, turning, scope.now)
        for rule, *readings in zip(rules, found, decided, strict=True):
            expected = {facts.profile_id for facts in asked if match(rule, facts, scope.now)}
            for members in readings:
                unlike = [facts for facts in asked if facts.profile_id in expected ^ members]
                assert not unlike and members <= {facts.profile_id for facts in asked}, (
                    f"{scope.now}: {describe(rule)}\n{rule}\n{unlike[:1]}"  # in words: pytest shortens all else
                )


def _turns_in_time(rules: list[Rule], profiles: list[Facts], turning: dict[UUID, int], now: datetime) -> None:
    """No answer changes before the moment that was foreseen for its profile, nor ever where none was."""
    for facts in profiles:
        last = NOW + 500 * DAY
        if facts.profile_id in turning:
            assert turning[facts.profile_id] > epoch_ms(now)
            last = EPOCH + (turning[facts.profile_id] - 1) * MS
        for rule in rules:
            steps = (now + MS, now + (last - now) / 2, last)
            turned = [at for at in steps if at <= last and match(rule, facts, at) is not match(rule, facts, now)]
            assert not turned, (describe(rule), rule, facts, now, turned)


async def _due_in_time(store: ClickHouse, workspace: str, rules: list[Rule], profiles: list[Facts]) -> None:
    """Whoever time alone moves between two moments is due between them."""
    since, now = NOW - MS, NOW + MS
    questions = due_sql(rules, workspace, since, now)
    due = {one for question in questions for one in (await store.columns(question))["profile_id"]}
    for rule in rules:
        moved = {facts.profile_id for facts in profiles if match(rule, facts, since) is not match(rule, facts, now)}
        assert moved <= due, (describe(rule), moved - due)
