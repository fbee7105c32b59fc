"""Asks the real store for the members of rules."""

from collections.abc import Sequence
from uuid import UUID

from cdp_clickhouse.client import ClickHouse
from cdp_segmenter.rules.ast import Rule
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
