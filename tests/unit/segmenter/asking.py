"""Asks the real store for the members of rules, in each of the two ways."""

from collections.abc import Sequence
from uuid import UUID

from cdp_clickhouse.client import ClickHouse
from cdp_segmenter.adapters.clickhouse_crowd import ClickHouseCrowd
from cdp_segmenter.rules.ast import Rule
from cdp_segmenter.rules.columns import Columns
from cdp_segmenter.rules.decide import Decider
from cdp_segmenter.rules.facts import Facts
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.sql import members_sql


async def members_in_store(
    store: ClickHouse, rules: Sequence[Rule], scope: Scope, profiles: Sequence[Facts]
) -> list[set[UUID]]:
    """Per rule the profiles that satisfy it, as ClickHouse says."""
    manual: dict[str, list[UUID]] = {}
    for facts in profiles:
        for segment_id in facts.segments:
            manual.setdefault(segment_id, []).append(facts.profile_id)
    rows = await store.rows(members_sql(rules, scope, manual))
    found: list[set[UUID]] = [set() for _ in rules]
    for row in rows:
        for index, members in enumerate(found):
            if row["verdicts"][index]:
                members.add(row["profile_id"])
    return found


async def members_decided(
    store: ClickHouse, rules: Sequence[Rule], scope: Scope, profiles: Sequence[Facts]
) -> tuple[list[set[UUID]], dict[UUID, int]]:
    """Per rule the profiles that satisfy it, as memory decides from columns; and when who may turn by time alone."""
    asked = scope.profiles or ()
    manual: dict[str, int] = {}
    for facts in profiles:
        for segment_id in facts.segments:
            if facts.profile_id in asked:
                manual[segment_id] = manual.get(segment_id, 0) | 1 << asked.index(facts.profile_id)
    decided = await ClickHouseCrowd(store).decided(Decider(Columns(rules)), scope, manual)
    members = [{profile for number, profile in enumerate(asked) if who >> number & 1} for who in decided.members]
    return members, {asked[number]: ms for number, ms in decided.next_ms.items()}
