"""A retention question -> one statement: profiles by the week in which they came, and when they were there again.

It reads the daily counters, which the same inserts feed as the events: a day of a profile is one row however many
events it had, and its week is known without reading a time.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from cdp_analytics_api.queries.events import named
from cdp_analytics_api.queries.nodes import aliases, profile_of, workspace
from cdp_clickhouse.statement import EMPTY, Statement, join, value
from cdp_schemas.event_names import names_matching

DAYS: Final = 7
_EPOCH: Final = date(1970, 1, 1)


@dataclass(frozen=True, slots=True)
class Cohorts:
    """Checked: ``weeks`` weeks from ``first_day`` on. An event of None means any."""

    first_day: date
    weeks: int
    start_event: str | None = None
    return_event: str | None = None

    @property
    def starts(self) -> list[date]:
        """The first day of each week."""
        return [self.first_day + timedelta(days=DAYS * week) for week in range(self.weeks)]


def cohorts(workspace_id: str, asked: Cohorts) -> Statement:
    """Rows (week, profiles, retained): those whose first start was in ``week``, and how many came k weeks later."""
    weeks = value("weeks", "UInt8", asked.weeks)
    return join(
        " ",
        [
            "SELECT week, sum(alike) AS profiles,",
            "sumForEach(arrayMap(k -> alike * bitTest(back, k), range(" + weeks + "))) AS retained FROM (",
            "SELECT bitCount(bitXor(started, started - 1)) - 1 AS week, bitShiftRight(returned, week) AS back,",
            "count() AS alike FROM (",
            _by_profile(workspace_id, asked),
            ") WHERE started != 0 GROUP BY week, back ) GROUP BY week",
        ],
    )


def _by_profile(workspace_id: str, asked: Cohorts) -> Statement:
    """Each profile's weeks as bits. Nodes are folded first: there are fewer of them to find profiles for than days."""
    profile = profile_of("n.node_id", "a")
    return join(
        " ",
        [
            "SELECT groupBitOr(n.started) AS started, groupBitOr(n.returned) AS returned FROM (",
            _by_node(workspace_id, asked),
            ") AS n ANY LEFT JOIN (",
            aliases(workspace_id),
            f") AS a ON a.node_id = n.node_id GROUP BY {profile}",
        ],
    )


def _by_node(workspace_id: str, asked: Cohorts) -> Statement:
    first = value("first_day", "UInt16", (asked.first_day - _EPOCH).days)
    week = "bitShiftLeft(toUInt64(1), intDiv(toUInt16(day) - " + first + f", {DAYS}))"
    conditions = [
        workspace(workspace_id),
        "toUInt16(day) >= " + first,
        "toUInt16(day) < " + value("day_after", "UInt16", (asked.first_day - _EPOCH).days + DAYS * asked.weeks),
        _either(asked),
    ]
    return join(
        " ",
        [
            "SELECT node_id,",
            join(", ", [_bits(week, asked.start_event, "started"), _bits(week, asked.return_event, "returned")]),
            "FROM counters WHERE",
            join(" AND ", conditions),
            "GROUP BY node_id",
        ],
    )


def _bits(week: Statement, event: str | None, alias: str) -> Statement:
    if event is None:
        return "groupBitOr(" + week + f") AS {alias}"
    return "groupBitOrIf(" + week + ", " + named(names_matching(event), f"{alias}_names") + f") AS {alias}"


def _either(asked: Cohorts) -> Statement:
    if asked.start_event is None or asked.return_event is None:
        return EMPTY
    names = {*names_matching(asked.start_event), *names_matching(asked.return_event)}
    return named(tuple(sorted(names)), "names")
