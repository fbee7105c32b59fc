"""P12: a hundred rules over 1M profiles and 10M events, beside one hand-written query that answers the same."""

import asyncio
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from bench.crowd import EVENTS, NAMES, PROFILES, Crowd
from bench.report import Row
from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_segmenter.rules.parse import parse
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.sql import sizes_sql

RULES, ROUNDS = 100, 5
COUNTRIES, PLANS, WINDOWS = ["US", "DE", "FR", "GB", "IN"], ["free", "pro", "team"], [7, 14, 30, 60, 90]


@dataclass(frozen=True, slots=True)
class Pair:
    """One condition twice: as the API takes it, and as a person would write it in SQL."""

    rule: dict[str, Any]
    sql: str


def rows(crowd: Crowd) -> list[Row]:
    """The row of P12. Raises AssertionError when the two queries do not agree on every segment's size."""
    return asyncio.run(_rows(crowd))


async def _rows(crowd: Crowd) -> list[Row]:
    store = crowd.store()
    row = await _compared(store)
    await store.stop()
    return [row]


async def _compared(store: ClickHouse) -> Row:
    now, pairs = datetime.now(UTC), _pairs()
    parsed = [parse({"operator": operator, "conditions": [one.rule for one in some]}) for operator, some in pairs]
    ours, byhand = sizes_sql(parsed, Scope("bench", now)), Statement(_by_hand(pairs, now))
    timings: tuple[list[float], list[float]] = ([], [])
    for _ in range(ROUNDS):  # in turn, so that whatever else the machine does meets both
        answers = []
        for statement, taken in zip((ours, byhand), timings, strict=True):
            start = time.perf_counter()
            answers.append((await store.rows(statement))[0])
            taken.append(time.perf_counter() - start)
        require_alike(pairs, answers[0]["sizes"], [answers[1][f"n{index}"] for index in range(RULES)])
    seconds, bare = (sorted(taken)[ROUNDS // 2] for taken in timings)
    what = f"full evaluation of {RULES} segments, {PROFILES:,} profiles, {EVENTS:,} events"
    return Row("P12", what, seconds, "s", bare, seconds / bare, "≤ 3 s", seconds <= 3)


def require_alike(rules: Sequence[object], mine: Sequence[int], theirs: Sequence[int]) -> None:
    """Raises AssertionError for segments whose sizes differ, and when hardly any has members."""
    unlike = [(rule, *sizes) for rule, *sizes in zip(rules, mine, theirs, strict=True) if sizes[0] != sizes[1]]
    assert not unlike, unlike
    filled = sum(size > 0 for size in mine)
    assert filled > len(rules) // 4, f"{filled} of {len(rules)} segments have members"


def _pairs() -> list[tuple[str, list[Pair]]]:
    choose = random.Random(12)
    return [(choose.choice(["AND", "OR"]), [_pair(choose) for _ in range(choose.randint(1, 3))]) for _ in range(RULES)]


def _pair(choose: random.Random) -> Pair:
    name, days, least = choose.choice(NAMES), choose.choice(WINDOWS), choose.randint(1, 4)
    country, age, spent = choose.choice(COUNTRIES), choose.randint(20, 70), choose.choice([100, 500, 1000])
    count = f"c_{name.replace(' ', '_')}_{days}"
    return choose.choice(
        [
            Pair({"event": name, "count": {"min": least}, "timeWindow": days}, f"{count} >= {least}"),
            Pair({"event": name, "count": {"min": least}, "timeWindow": days}, f"{count} >= {least}"),
            Pair({"event": name, "count": {"max": 0}, "timeWindow": days}, f"{count} = 0"),
            Pair(_field("attributes.country", "=", country), f"country = '{country}'"),
            Pair(_field("attributes.age", ">", age), f"age > {age}"),
            Pair(_field("attributes.plan", "!=", "free"), "plan != 'free'"),
            Pair(_field("computed.ltv", ">", spent), f"ltv_minor > {spent * 100}"),
            Pair(_field("consent.email", "=", True), "consent['email']"),
        ]
    )


def _field(field: str, operator: str, value: Any) -> dict[str, Any]:
    return {"field": field, "operator": operator, "value": value}


def _by_hand(pairs: Sequence[tuple[str, list[Pair]]], now: datetime) -> str:
    """Counts per profile, joined to the profiles, one countIf per segment: nothing general, nothing bound."""
    ms = int(now.timestamp() * 1000)
    counts = ", ".join(
        f"countIf(event = '{name}' AND timestamp > fromUnixTimestamp64Milli({ms - days * 86_400_000}, 'UTC')) "
        f"AS c_{name.replace(' ', '_')}_{days}"
        for name in NAMES
        for days in WINDOWS
    )
    verdicts = ", ".join(
        f"countIf({f' {operator} '.join(one.sql for one in some)}) AS n{index}"
        for index, (operator, some) in enumerate(pairs)
    )
    nobody = "toUUID('00000000-0000-0000-0000-000000000000')"
    return f"""
SELECT {verdicts}
FROM (SELECT profile_id, ltv_minor, consent, traits.country.:String AS country, traits.plan.:String AS plan,
             traits.age.:Int64 AS age FROM profiles FINAL WHERE workspace_id = 'bench') AS p
LEFT JOIN (
    SELECT if(n.profile_id = {nobody}, v.node_id, n.profile_id) AS profile, {counts}
    FROM events AS v LEFT ANY JOIN (SELECT node_id, profile_id FROM profile_aliases FINAL
                                    WHERE workspace_id = 'bench') AS n ON n.node_id = v.node_id
    WHERE v.workspace_id = 'bench' GROUP BY profile
) AS e ON e.profile = p.profile_id
"""
