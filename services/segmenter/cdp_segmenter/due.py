# ruff: noqa: S608 - every value is bound, every name quoted by `identifier`
"""Rules and two moments -> the queries for the profiles whose answers may differ between them by time alone.

A window's end passes over an event, an instant leaves or enters "the last 30 days", another day has gone since the last
purchase: each is a range of stored instants that follows from the two moments. Filters and counts are left to the
evaluation, so this names a few profiles too many and never one too few.
"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import cast

from cdp_clickhouse.statement import Statement
from cdp_segmenter.rules.ast import EventCondition, Rule, TraitIs
from cdp_segmenter.rules.bound import Bound
from cdp_segmenter.rules.check import walk
from cdp_segmenter.rules.compare_sql import instant_of
from cdp_segmenter.rules.json_sql import trait_column
from cdp_segmenter.rules.leaves import DAY_MS, TIME_COLUMNS, instant_sql, stored_names
from cdp_segmenter.rules.scope import NODE_PROFILE, aliases_sql
from cdp_segmenter.rules.short import in_short
from cdp_segmenter.rules.times import epoch_ms, whole_ms


def due_sql(rules: Sequence[Rule], workspace_id: str, since: datetime, now: datetime) -> list[Statement]:
    """Rows ``profile_id`` of those to look at again at ``now`` when all was right at ``since``; none: nobody can be."""
    questions = in_short(
        rules, lambda some: _due_sql(some, workspace_id, since, now), lambda asked: len(asked.sql) if asked else 0
    )
    return [question for question in questions if question is not None]


def _due_sql(rules: Iterable[Rule], workspace_id: str, since: datetime, now: datetime) -> Statement | None:
    span = _Span(workspace_id, whole_ms(since), whole_ms(now))
    leaves = list(dict.fromkeys(node for rule in rules for node in walk(rule)))
    events = [condition for leaf in leaves if isinstance(leaf, EventCondition) for condition in _events(span, leaf)]
    profiles = [condition for leaf in leaves if isinstance(leaf, TraitIs) for condition in _profiles(span, leaf)]
    workspace = span.bound("String", workspace_id)
    queries = []
    if events:
        queries.append(
            f"SELECT {NODE_PROFILE} AS profile_id FROM events AS v {aliases_sql(workspace)} "
            f"WHERE v.workspace_id = {workspace} AND ({_any(events)})"
        )
    if profiles:
        queries.append(f"SELECT profile_id FROM profiles FINAL WHERE workspace_id = {workspace} AND ({_any(profiles)})")
    if not queries:
        return None
    return span.bound.statement(f"SELECT DISTINCT profile_id FROM ({' UNION ALL '.join(queries)})")


@dataclass(frozen=True, slots=True)
class _Span:
    """From ``since`` (not included) to ``now`` (included)."""

    workspace_id: str
    since: datetime
    now: datetime
    bound: Bound = field(default_factory=Bound)

    def crossed(self, length: timedelta) -> tuple[datetime, datetime]:
        """The instants that became older than ``length`` within the span."""
        return self.since - length, self.now - length


def _events(span: _Span, leaf: EventCondition) -> list[str]:
    ranges = [span.crossed(leaf.window)] if leaf.window is not None else []
    if leaf.comparison.operator == "within_last":
        # leaves the past that counts, or comes in from the future
        ranges += [span.crossed(cast(timedelta, leaf.comparison.value)), (span.since, span.now)]
    names = span.bound("Array(String)", stored_names(leaf))
    return [
        f"v.event IN {names} AND v.timestamp > {instant_sql(span.bound, after)} "
        f"AND v.timestamp <= {instant_sql(span.bound, until)}"
        for after, until in ranges
    ]


def _profiles(span: _Span, leaf: TraitIs) -> list[str]:
    if leaf.field.name == "daysSinceLastPurchase" and leaf.field.space == "computed":
        last = "toUnixTimestamp64Milli(last_order_at)"
        then, now = (span.bound("Int64", epoch_ms(at)) for at in (span.since, span.now))
        return [f"ifNull(floor(({then} - {last}) / {DAY_MS}) != floor(({now} - {last}) / {DAY_MS}), 0)"]
    if leaf.comparison.operator != "within_last":
        return []
    ms = (
        instant_of(span.bound, trait_column("traits", leaf.field.name).text)
        if leaf.field.space == "attributes"
        else f"toUnixTimestamp64Milli({TIME_COLUMNS[leaf.field.name]})"
    )
    ranges = (span.crossed(cast(timedelta, leaf.comparison.value)), (span.since, span.now))
    return [
        f"ifNull({ms} > {span.bound('Int64', epoch_ms(after))} AND {ms} <= {span.bound('Int64', epoch_ms(until))}, 0)"
        for after, until in ranges
    ]


def _any(conditions: Sequence[str]) -> str:
    return " OR ".join(f"({condition})" for condition in dict.fromkeys(conditions))
