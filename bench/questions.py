"""P16 and P18: what marketers ask of a million profiles and ten million events, each beside SQL written by hand."""

import asyncio
import time
from collections.abc import Callable, Iterable
from dataclasses import dataclass
from datetime import UTC, date, datetime, timedelta
from typing import Any, Final

from bench.crowd import WORKSPACE, Crowd
from bench.machine import Series
from bench.report import Row
from bench.target import Target, all_of, at_most, times_bare
from cdp_analytics_api.answers import cohort_answer
from cdp_analytics_api.queries.cohorts import Cohorts, cohorts
from cdp_analytics_api.queries.funnel import funnel
from cdp_analytics_api.questions import FunnelQuestion
from cdp_analytics_api.reports import funnel_of
from cdp_clickhouse.statement import Statement
from cdp_segmenter.rules.parse import parse
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.sql import preview_sql

ROUNDS, DAYS, WEEKS = 5, 185, 8  # all events of the crowd are younger than that
STEPS = ("Page Viewed", "Product Added", "Checkout Started", "Email Opened")
_IN_TURN: Final = "the product's query and one by hand, in turn, the median; both must give the same numbers"
P16_PREVIEW = Target(
    "P16 preview", "size of a rule over traits and revenue, 1,000,000 profiles", "s", release=at_most(0.05, "s"),
    floor=at_most(0.5, "s"), how=_IN_TURN,
)  # fmt: skip
P16_EVENTS = Target(
    "P16 events", "size of a rule over events of 30 days, 10,000,000 events", "s", release=at_most(0.05, "s"),
    floor=at_most(0.5, "s"), how=_IN_TURN,
)  # fmt: skip
P16_OVERLAP = Target(
    "P16 overlap", "how many satisfy both of two rules over traits", "s", release=at_most(0.05, "s"),
    floor=at_most(0.5, "s"), how=_IN_TURN,
)  # fmt: skip
P18_FUNNEL = Target(
    "P18 funnel", "funnel of 4 steps within 7 days, all of 10,000,000 events in the period", "s",
    release=all_of(at_most(0.4, "s"), times_bare(1.05)), floor=all_of(at_most(3, "s"), times_bare(2)),
    how=f"without times to convert; {_IN_TURN}",
)  # fmt: skip
P18_TIMES = Target(
    "P18 times", "the same funnel with median and 90th percentile of the times", "s", release=at_most(0.4, "s"),
    floor=at_most(3, "s"), how="against the product's funnel without times, in turn; both must count the same",
)  # fmt: skip
P18_RETENTION = Target(
    "P18 retention", "retention of 8 weeks by any event, 1,000,000 profiles", "s",
    release=all_of(at_most(0.4, "s"), times_bare(1.05)), floor=all_of(at_most(3, "s"), times_bare(2)), how=_IN_TURN,
)  # fmt: skip
_SHOPPERS: Final = {"operator": "AND", "conditions": [
    {"field": "attributes.country", "operator": "=", "value": "DE"},
    {"field": "computed.ltv", "operator": ">", "value": 500},
]}  # fmt: skip
_GROWN: Final = {"operator": "AND", "conditions": [{"field": "attributes.age", "operator": ">", "value": 40}]}
_SEARCHERS: Final = {"operator": "AND", "conditions": [{"event": "Search", "count": {"min": 2}, "timeWindow": 30}]}
_NOBODY: Final = "toUUID('00000000-0000-0000-0000-000000000000')"
_PEOPLE: Final = f"SELECT count() AS size FROM profiles FINAL WHERE workspace_id = '{WORKSPACE}' AND"
_OWNERS: Final = (
    f"LEFT ANY JOIN (SELECT node_id, profile_id FROM profile_aliases FINAL WHERE workspace_id = '{WORKSPACE}') AS n "
    "ON n.node_id = v.node_id"
)
# the tricks of the product, which a person who measures finds too: both sides come ordered by node, in larger blocks
_MERGED: Final = "SETTINGS join_algorithm = 'partial_merge', preferred_block_size_bytes = 4000000"
_OWNER: Final = f"if(n.profile_id = {_NOBODY}, v.node_id, n.profile_id)"


@dataclass(frozen=True, slots=True)
class Duel:
    """One question twice; ``said`` makes equal values of equal answers."""

    target: Target
    ours: Statement
    by_hand: Statement
    said: Callable[[list[dict[str, Any]]], object]
    said_by_hand: Callable[[list[dict[str, Any]]], object]


def asked(crowd: Crowd) -> Iterable[Row]:
    """The rows of P16 and P18. Raises AssertionError where the two answers differ."""
    now = datetime.now(UTC)
    return [asyncio.run(_fought(crowd, duel)) for duel in (*_sizes(now), *_funnels(now), _retention(now))]


async def _fought(crowd: Crowd, duel: Duel) -> Row:
    store = crowd.store()
    taken: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):  # in turn, so that whatever else the machine does meets both
        answers = []
        for statement, seconds in zip((duel.ours, duel.by_hand), taken, strict=True):
            start = time.perf_counter()
            answers.append(await store.rows(statement))
            seconds.append(time.perf_counter() - start)
        require_alike(duel.target.id, duel.said(answers[0]), duel.said_by_hand(answers[1]))
    await store.stop()
    ours, bare = (Series(tuple(seconds)).median for seconds in taken)
    return duel.target.row(ours, bare)


def require_alike(name: str, mine: object, theirs: object) -> None:
    """Raises AssertionError when the answers differ, and when both found nobody: then they would agree on anything."""
    assert mine == theirs, (name, mine, theirs)
    numbers = mine if isinstance(mine, list) else [mine]
    assert any(numbers), f"{name}: both answers are {mine}"


def _sizes(now: datetime) -> list[Duel]:
    shoppers, grown = "traits.country.:String = 'DE' AND ltv_minor > 50000", "traits.age.:Int64 > 40"
    both = {"operator": "AND", "conditions": [_SHOPPERS, _GROWN]}
    since = _ms(now - timedelta(days=30))
    searchers = f"""
SELECT count() AS size FROM (
    SELECT {_OWNER} AS profile FROM events AS v {_OWNERS}
    WHERE v.workspace_id = '{WORKSPACE}' AND event = 'Search' AND timestamp > {since}
    GROUP BY profile HAVING count() >= 2
) WHERE profile IN (SELECT profile_id FROM profiles FINAL WHERE workspace_id = '{WORKSPACE}')"""
    return [
        _size(P16_PREVIEW, _SHOPPERS, f"{_PEOPLE} {shoppers}", now),
        _size(P16_EVENTS, _SEARCHERS, searchers, now),
        _size(P16_OVERLAP, both, f"{_PEOPLE} {shoppers} AND {grown}", now),
    ]


def _size(target: Target, rule: dict[str, Any], by_hand: str, now: datetime) -> Duel:
    ours = preview_sql(parse(rule), Scope(WORKSPACE, now))
    return Duel(target, ours, Statement(by_hand), lambda rows: rows[0]["size"], lambda rows: rows[0]["size"])


def _funnels(now: datetime) -> list[Duel]:
    plain, timed = (_funnel(now, times) for times in (False, True))
    steps = ", ".join(f"event = '{name}'" for name in STEPS)
    names = ", ".join(f"'{name}'" for name in STEPS)
    by_hand = Statement(f"""
SELECT countIf(level >= 1) AS n1, countIf(level >= 2) AS n2, countIf(level >= 3) AS n3, countIf(level >= 4) AS n4
FROM (
    SELECT windowFunnel({7 * 86_400_000})(toUInt64(toUnixTimestamp64Milli(timestamp)), {steps}) AS level
    FROM events AS v {_OWNERS}
    WHERE v.workspace_id = '{WORKSPACE}' AND event IN ({names})
      AND timestamp >= {_ms(_midnight(now) - timedelta(days=DAYS))} AND timestamp <= {_ms(now)}
    GROUP BY {_OWNER}
) {_MERGED}""")

    def said(rows: list[dict[str, Any]]) -> object:
        return [rows[0][f"reached_{k}"] for k in range(1, len(STEPS) + 1)]

    def said_by_hand(rows: list[dict[str, Any]]) -> object:
        return [rows[0][f"n{k}"] for k in range(1, len(STEPS) + 1)]

    return [Duel(P18_FUNNEL, plain, by_hand, said, said_by_hand), Duel(P18_TIMES, timed, plain, said, said)]


def _funnel(now: datetime, times: bool) -> Statement:
    question = FunnelQuestion(
        steps=[{"event": name} for name in STEPS],
        start_date=(_midnight(now) - timedelta(days=DAYS)).date().isoformat(),
        time_window=7 * 86_400,
        time_to_convert=times,
    )
    return funnel(WORKSPACE, funnel_of(question, now))


def _retention(now: datetime) -> Duel:
    question = Cohorts((now - timedelta(days=7 * WEEKS - 1)).date(), WEEKS)
    first, after = question.first_day, question.first_day + timedelta(days=7 * WEEKS)
    back = ", ".join(f"countIf(bitTest(weeks, first + {k})) AS back{k}" for k in range(WEEKS))
    by_hand = Statement(f"""
SELECT first, count() AS profiles, {back} FROM (
    SELECT groupBitOr(bitShiftLeft(toUInt64(1), intDiv(toDate(timestamp) - toDate('{first}'), 7))) AS weeks,
           min(intDiv(toDate(timestamp) - toDate('{first}'), 7)) AS first
    FROM events AS v {_OWNERS}
    WHERE v.workspace_id = '{WORKSPACE}' AND timestamp >= '{first} 00:00:00' AND timestamp < '{after} 00:00:00'
    GROUP BY {_OWNER}
) GROUP BY first ORDER BY first""")

    def said(rows: list[dict[str, Any]]) -> object:
        return [(week.profiles, week.retained) for week in cohort_answer(question, rows).weeks]

    def said_by_hand(rows: list[dict[str, Any]]) -> object:
        return [(row["profiles"], [row[f"back{k}"] for k in range(WEEKS - row["first"])]) for row in rows]

    return Duel(P18_RETENTION, cohorts(WORKSPACE, question), by_hand, said, said_by_hand)


def _midnight(now: datetime) -> datetime:
    return datetime.combine(date(now.year, now.month, now.day), datetime.min.time(), UTC)


def _ms(moment: datetime) -> str:
    return f"fromUnixTimestamp64Milli({int(moment.timestamp() * 1000)}, 'UTC')"
