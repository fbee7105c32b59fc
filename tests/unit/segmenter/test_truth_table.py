"""All readings of a rule agree on every case of the table."""

from dataclasses import replace

import pytest

from cdp_clickhouse.client import ClickHouse
from cdp_runtime.migrate import migrate_clickhouse
from cdp_segmenter.rules.check import check, cost, depth
from cdp_segmenter.rules.describe import describe
from cdp_segmenter.rules.match import match
from cdp_segmenter.rules.parse import parse
from cdp_segmenter.rules.rewrite import simplified
from cdp_segmenter.rules.scope import Scope
from tests.fakes.segmenter import NOW, profile_id, write_facts

from .asking import members_decided, members_in_store
from .truth_table import CASES, Case


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_match(case: Case) -> None:
    rule = parse(case.rule)
    assert [match(rule, facts, NOW) for facts in case.yes] == [True] * len(case.yes)
    assert [match(rule, facts, NOW) for facts in case.no] == [False] * len(case.no)
    assert [match(simplified(rule), facts, NOW) for facts in (*case.yes, *case.no)] == [True] * len(case.yes) + [
        False
    ] * len(case.no)


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_describe(case: Case) -> None:
    assert describe(parse(case.rule)) == case.english


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.name)
def test_check(case: Case) -> None:
    rule = parse(case.rule)
    check(rule)
    assert cost(rule) >= 1
    assert depth(rule) >= 1


@pytest.mark.clickhouse
async def test_sql(clickhouse_url: str) -> None:
    """Every rule over every profile of the whole table, in one query and from columns, against match."""
    await migrate_clickhouse(clickhouse_url)
    store = ClickHouse(clickhouse_url)
    everyone = [
        replace(facts, profile_id=profile_id(f"{case.name}-{index}"))
        for case in CASES
        for index, facts in enumerate((*case.yes, *case.no))
    ]
    await write_facts(store, "truth", everyone)
    rules = [parse(case.rule) for case in CASES]
    found = await members_in_store(store, rules, Scope("truth", NOW), everyone)
    named = Scope("truth", NOW, profiles=tuple(facts.profile_id for facts in everyone))
    decided, _ = await members_decided(store, rules, named, everyone)
    await store.stop()
    for case, rule, *readings in zip(CASES, rules, found, decided, strict=True):
        expected = {facts.profile_id for facts in everyone if match(rule, facts, NOW)}
        for members in readings:
            unlike = [facts for facts in everyone if facts.profile_id in expected ^ members]
            assert not unlike, (case.name, describe(rule), unlike)


@pytest.mark.clickhouse
async def test_each_rule_alone_is_decided_from_its_own_columns(clickhouse_url: str) -> None:
    """Together the rules of the table ask for every column; alone each has to ask for all that it needs."""
    await migrate_clickhouse(clickhouse_url)
    store = ClickHouse(clickhouse_url)
    everyone = [
        replace(facts, profile_id=profile_id(f"alone-{case.name}-{index}"))
        for case in CASES
        for index, facts in enumerate((*case.yes, *case.no))
    ]
    await write_facts(store, "alone", everyone)
    for case in CASES:
        names = {profile_id(f"alone-{case.name}-{index}") for index in range(len(case.yes) + len(case.no))}
        mine = [facts for facts in everyone if facts.profile_id in names]
        scope = Scope("alone", NOW, profiles=tuple(facts.profile_id for facts in mine))
        (members,), _ = await members_decided(store, [parse(case.rule)], scope, mine)
        assert members == {facts.profile_id for facts in mine[: len(case.yes)]}, case.name
    await store.stop()
