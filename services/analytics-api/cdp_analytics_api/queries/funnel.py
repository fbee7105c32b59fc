"""A funnel -> one statement over all profiles: how many reach each step, and how long they take.

The steps of a profile are folded event by event. The state is, per step, the latest first-step time of any way that
leads there: a later start can only help, so it decides exactly whether the window is kept. Steps are updated from the
state before the event, so one event takes one step. Events of the same millisecond count in the order of the steps.
"""

from dataclasses import dataclass, replace
from typing import Final

from cdp_analytics_api.periods import Period
from cdp_analytics_api.queries.events import in_months
from cdp_analytics_api.queries.filters import as_text, condition
from cdp_analytics_api.queries.nodes import aliases, profile_of, workspace
from cdp_analytics_api.questions import FunnelStep, Order
from cdp_clickhouse.statement import EMPTY, Statement, join, value
from cdp_schemas.event_names import names_matching

BREAKDOWN_VALUES: Final = 25
# an event in a trail: milliseconds above, one bit per step below
_STEP_BITS: Final = 20


@dataclass(frozen=True, slots=True)
class Funnel:
    """A checked funnel question; ``window_ms`` runs from the first step to the last, both included."""

    steps: tuple[FunnelStep, ...]
    period: Period
    window_ms: int
    order: Order = "ordered"
    breakdown: tuple[str, ...] | None = None
    times: bool = True

    @property
    def names(self) -> list[tuple[str, ...]]:
        """Per step, the stored names that its event means."""
        return [names_matching(step.event) for step in self.steps]

    def without_breakdown(self) -> "Funnel":
        """The same question over all profiles together."""
        return replace(self, breakdown=None)

    @property
    def is_plain(self) -> bool:
        """No event can be two steps, others may lie between: ``windowFunnel`` counts the same, and faster."""
        every = [name for names in self.names for name in names]
        return self.order == "ordered" and len(every) == len(set(every))


@dataclass(frozen=True, slots=True)
class _Counting:
    """How one profile's events become its way (an aggregate), and what is counted over all ways."""

    way: Statement
    columns: str


def funnel(workspace_id: str, asked: Funnel) -> Statement:
    """One row (per breakdown value, the most entered first): ``reached_k`` and, with times, ``times_k``.

    ``times_k`` is [median, 90th percentile] in milliseconds from the first step to step k (k >= 2), by the shortest
    way to its first completion; [0, 0] when nobody reached it.
    """
    counting = _counted_plainly(asked) if asked.is_plain and not asked.times else _folded(asked)
    ways = _ways(workspace_id, asked, counting.way)
    if not asked.breakdown:
        return join(" ", ["SELECT", counting.columns, "FROM (", ways, ")"])
    ending = "WHERE entered GROUP BY breakdown ORDER BY reached_1 DESC, breakdown LIMIT"
    limit = value("values", "UInt32", BREAKDOWN_VALUES)
    return join(" ", ["SELECT breakdown,", counting.columns, "FROM (", ways, ")", ending, limit])


def _ways(workspace_id: str, asked: Funnel, way: Statement) -> Statement:
    """One row per profile with at least one event that matters."""
    every = [name for names in asked.names for name in names]
    conditions = [
        workspace(workspace_id),
        in_months(asked.period),
        # strict steps are broken by any other event, so all of them are read
        EMPTY if asked.order == "strict" else "event IN " + value("names", "Array(String)", sorted(set(every))),
    ]
    return join(
        " ",
        [
            "SELECT",
            join(", ", [way, *_breakdown(asked)]),
            "FROM events AS e ANY LEFT JOIN (",
            aliases(workspace_id),
            ") AS a ON a.node_id = e.node_id WHERE",
            join(" AND ", conditions),
            "GROUP BY",
            profile_of("e.node_id", "a"),
        ],
    )


def _breakdown(asked: Funnel) -> list[Statement]:
    if not asked.breakdown:
        return []
    entry = _tests(asked)[0]
    first = "argMinIf(" + as_text(asked.breakdown, "breakdown") + ", (timestamp, received_partition, received_offset), "
    return [first + entry + ") AS breakdown", "countIf(" + entry + ") > 0 AS entered"]


def _tests(asked: Funnel) -> list[Statement]:
    """Per step, the condition that an event is it."""
    return [_test(k, step, names) for k, (step, names) in enumerate(zip(asked.steps, asked.names, strict=True))]


def _test(k: int, step: FunnelStep, names: tuple[str, ...]) -> Statement:
    named = "event IN " + value(f"step{k}", "Array(String)", list(names))
    filters = (condition(chosen, f"step{k}_{number}") for number, chosen in enumerate(step.filters))
    return "(" + join(" AND ", [named, *filters]) + ")"


def _counted_plainly(asked: Funnel) -> _Counting:
    millis = "toUInt64(toUnixTimestamp64Milli(timestamp))"
    window = value("window_ms", "UInt64", asked.window_ms)
    level = "windowFunnel(" + window + f")({millis}, " + join(", ", _tests(asked)) + ") AS level"
    columns = ", ".join(f"countIf(level >= {k}) AS reached_{k}" for k in range(1, len(asked.steps) + 1))
    return _Counting(level, columns)


def _folded(asked: Funnel) -> _Counting:
    steps = len(asked.steps)
    mask = join(" + ", (f"{1 << k} * " + test for k, test in enumerate(_tests(asked))))
    packed = f"bitShiftLeft(toUInt64(toUnixTimestamp64Milli(timestamp)), {_STEP_BITS}) + " + mask
    start = ", ".join(["toInt64(-1)"] * (2 * steps))
    way = (
        "arrayFold((way, x) -> (" + _next_state(asked) + "), arraySort(groupArray(" + packed + f")), ({start})) AS way"
    )
    columns = [f"countIf(way.{steps + k} >= 0) AS reached_{k}" for k in range(1, steps + 1)]
    if asked.times:
        columns += [_quantiles(k, steps + k) for k in range(2, steps + 1)]
    return _Counting(way, ", ".join(columns))


def _quantiles(k: int, place: int) -> str:
    return f"quantilesExactIf(0.5, 0.9)(way.{place}, way.{place} >= 0) AS times_{k}"


def _next_state(asked: Funnel) -> Statement:
    """The state after event x. Elements 1 to n: latest start of a way to each step (-1: none); then n times taken."""
    steps, now = len(asked.steps), f"toInt64(bitShiftRight(x, {_STEP_BITS}))"
    window = value("window_ms", "Int64", asked.window_ms)
    starts, taken = [], []
    for k in range(1, steps + 1):
        is_step, before = f"bitTest(x, {k - 1})", f"way.{k - 1}"
        in_time = "" if k == 1 else f" AND {before} >= 0 AND {now} - {before} <= " + window
        hit = Statement(is_step) + in_time
        start = now if k == 1 else before
        stays = "toInt64(-1)" if asked.order == "strict" else f"way.{k}"
        later = start if asked.order == "strict" else f"greatest({start}, way.{k})"
        starts.append("if(" + hit + f", {later}, {stays})")
        taken.append(f"if(way.{steps + k} < 0 AND " + hit + f", {now} - {start}, way.{steps + k})")
    return join(", ", [*starts, *taken])
