"""Facts of all profiles in ClickHouse: the ports Crowd and Witness."""

import asyncio
import json
from collections.abc import Mapping, Sequence
from itertools import compress, repeat
from typing import Any, Final
from uuid import UUID

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_segmenter.rules.ast import Rule
from cdp_segmenter.rules.bound import Bound
from cdp_segmenter.rules.decide import Decided, Decider
from cdp_segmenter.rules.facts import Event, Facts
from cdp_segmenter.rules.look import Answer, Look
from cdp_segmenter.rules.nodes import Nodes, events_sql, nodes_of
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.short import in_short
from cdp_segmenter.rules.sql import Members, members_sql, preview_sql
from cdp_segmenter.rules.times import from_epoch_ms

_SURVIVORS: Final = """
SELECT node_id, profile_id FROM profile_aliases FINAL
WHERE workspace_id = {workspace:String} AND node_id IN {gone:Array(UUID)} AND node_id != profile_id
"""
_COUNT: Final = "SELECT count() AS profiles FROM profiles WHERE workspace_id = {workspace:String}"
_PROFILE: Final = """
SELECT toJSONString(traits) AS traits, identifiers, consent, currency, ltv_minor, order_count, first_seen, last_seen,
       last_order_at
FROM profiles FINAL WHERE workspace_id = {workspace:String} AND profile_id = {profile:UUID}
"""
# What more threads have to tell one another costs more than what some thousand profiles' rows take. Rows may be chosen
# before FINAL here, because they are chosen by their keys alone: all versions of a profile are there, or none.
_OF_FEW: Final = " SETTINGS max_threads = 1, optimize_move_to_prewhere_if_final = 1"


class ClickHouseCrowd:
    """Implements the ports Crowd and Witness."""

    def __init__(self, store: ClickHouse) -> None:
        self._store = store

    async def members(self, rules: Sequence[Rule], scope: Scope, manual: Members) -> list[list[UUID]]:
        if not rules:
            return []
        found: list[list[UUID]] = []
        for some, question in in_short(
            rules, lambda some: (some, members_sql(some, scope, manual)), lambda asked: len(asked[1].sql)
        ):
            columns = await self._store.columns(question)
            profiles = columns["profile_id"]
            by_rule = zip(*columns["verdicts"], strict=True) if profiles else repeat((), len(some))
            found += [list(compress(profiles, verdicts)) for verdicts in by_rule]
        return found

    async def decided(self, decider: Decider, scope: Scope, manual: Mapping[str, int]) -> Decided:
        columns, look = decider.columns, Look(scope)
        profiles = await self._asked(columns.profiles(scope))
        nodes: list[Nodes] = []
        if columns.reads_events:
            numbers = look.numbers(profiles["profile_id"])
            known = zip(profiles["version"], numbers, profiles["identifiers"], strict=True)
            nodes = nodes_of(scope.workspace_id, known)
        events, totals = await asyncio.gather(
            self._together([columns.events(part, scope.now) for part in nodes]),
            self._together([columns.totals(part, scope.now) for part in nodes]),
        )
        return decider.decide(look, profiles, events, totals, manual)

    async def survivors(self, workspace_id: str, gone: Sequence[UUID]) -> Mapping[UUID, UUID]:
        rows = await self._store.rows(Statement(_SURVIVORS, {"workspace": workspace_id, "gone": gone}))
        return {row["node_id"]: row["profile_id"] for row in rows}

    async def count(self, workspace_id: str) -> int:
        rows = await self._store.rows(Statement(_COUNT, {"workspace": workspace_id}))
        return int(rows[0]["profiles"])

    async def due(self, statement: Statement) -> list[UUID]:
        return list((await self._store.columns(statement))["profile_id"])

    async def preview(self, rule: Rule, scope: Scope, manual: Members, sample: int) -> tuple[int, list[UUID]]:
        row = (await self._store.rows(preview_sql(rule, scope, manual, sample)))[0]
        return int(row["size"]), list(row["members"])

    async def _together(self, questions: Sequence[Statement | None]) -> Answer:
        """The rows of all answers as one."""
        answers = [await self._asked(question) for question in questions if question is not None]
        names = dict.fromkeys(name for answer in answers for name in answer)
        return {name: [value for answer in answers for value in answer.get(name, ())] for name in names}

    async def _asked(self, question: Statement) -> Answer:
        return await self._store.columns(question + _OF_FEW)

    async def facts(self, scope: Scope, profile_id: UUID, names: Sequence[str]) -> Facts | None:
        parameters = {"workspace": scope.workspace_id, "profile": profile_id}
        rows = await self._store.rows(Statement(_PROFILE, parameters))
        if not rows:
            return None
        events: list[dict[str, Any]] = []
        for nodes in nodes_of(scope.workspace_id, [(0, 0, rows[0]["identifiers"])]) if names else ():
            bound = Bound()
            sql = events_sql(bound, nodes, tuple(names))
            events += await self._store.rows(bound.statement(f"{sql} ORDER BY ms"))
        return _facts(profile_id, rows[0], names, events)


def _facts(
    profile_id: UUID, row: Mapping[str, Any], names: Sequence[str], events: Sequence[Mapping[str, Any]]
) -> Facts:
    return Facts(
        profile_id,
        json.loads(row["traits"]),
        {kind: tuple(values) for kind, values in row["identifiers"].items()},
        {purpose: bool(given) for purpose, given in row["consent"].items()},
        row["currency"],
        int(row["ltv_minor"]),
        int(row["order_count"]),
        row["first_seen"],
        row["last_seen"],
        row["last_order_at"],
        tuple(Event(names[one["name"] - 1], from_epoch_ms(one["ms"]), _object(one["properties"])) for one in events),
    )


def _object(text: str) -> Mapping[str, Any]:
    """The first of two equal keys wins, as in the store."""
    decoded = json.loads(text, object_pairs_hook=lambda pairs: dict(reversed(pairs)))
    return decoded if isinstance(decoded, dict) else {}
