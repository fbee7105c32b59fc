"""A funnel -> one statement over all profiles: how many reach each step, and how long they take.

A profile's events in order are its trail. For each step and event it is told when the latest way to that step began
that ends there: a later start can only help, so it decides exactly whether the window is kept. A step goes on from what
was before its event, so one event takes one step. Events of the same millisecond count in the order of the first step
that each can be: a step more at the end takes nobody from those before it.

A step is computed for whole trails at once, and those that do not reach it are dropped before the next one.
"""

from collections.abc import Iterator
from dataclasses import dataclass, replace
from typing import Final

from cdp_analytics_api.periods import Period
from cdp_analytics_api.queries.events import in_months
from cdp_analytics_api.queries.filters import as_text, condition
from cdp_analytics_api.queries.nodes import BY_ORDER, aliases, profile_of, workspace
from cdp_analytics_api.questions import FunnelStep, Order
from cdp_clickhouse.statement import EMPTY, Statement, join, value
from cdp_schemas.event_names import names_matching

BREAKDOWN_VALUES: Final = 25
# an event x in a trail: milliseconds above; below, from the first step down, one bit for each that it is not
_STEP_BITS: Final = 16
_AT: Final = f"bitShiftRight(x, {_STEP_BITS})"
# the start of no way: longer ago than any window
_NEVER: Final = f"toInt64(-{1 << 62})"


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


def funnel(workspace_id: str, asked: Funnel) -> Statement:
    """One row (per breakdown value, the most entered first): ``reached_k`` and, with times, ``times_k``.

    ``times_k`` is [median, 90th percentile] in milliseconds from the first step to step k (k >= 2), by the shortest
    way to its first completion; [0, 0] when nobody reached it.
    """
    columns, ways = ", ".join(_columns(asked)), _ways(workspace_id, asked)
    if not asked.breakdown:
        return join(" ", ["SELECT", columns, "FROM (", ways, ")", BY_ORDER])
    ending = "WHERE step_1 GROUP BY breakdown ORDER BY reached_1 DESC, breakdown LIMIT"
    limit = value("values", "UInt32", BREAKDOWN_VALUES)
    return join(" ", ["SELECT breakdown,", columns, "FROM (", ways, ")", ending, limit, BY_ORDER])


def _columns(asked: Funnel) -> Iterator[str]:
    for k in range(1, len(asked.steps) + 1):
        yield f"countIf(step_{k}) AS reached_{k}"
        if _is_timed(asked, k):
            yield f"quantilesExactIf(0.5, 0.9)(taken_{k}, step_{k}) AS times_{k}"


def _ways(workspace_id: str, asked: Funnel) -> Statement:
    """One row per profile: ``step_k``, whether it reached step k, and ``taken_k``, the milliseconds that it took."""
    ways, known = _trails(workspace_id, asked), ["breakdown"] if asked.breakdown else []
    for k in range(1, len(asked.steps) + 1):
        hits = join(", ", [*known, f"trail_{k - 1}", _hits(asked, k)])
        reached = join(", ", [*known, *_reached(asked, k), *_left(asked, k)])
        ways = join(" ", ["SELECT", reached, "FROM ( SELECT", hits, "FROM (", ways, ") )"])
        known += [f"step_{k}", f"taken_{k}"] if _is_timed(asked, k) else [f"step_{k}"]
    return ways


def _trails(workspace_id: str, asked: Funnel) -> Statement:
    """One row per profile with at least one event that matters."""
    every = [name for names in asked.names for name in names]
    conditions = [
        workspace(workspace_id),
        in_months(asked.period),
        # strict steps are broken by any other event, so all of them are read
        EMPTY if asked.order == "strict" else "event IN " + value("names", "Array(String)", sorted(set(every))),
    ]
    others = join(" + ", (f"{1 << _bit(asked, k)} * (1 - " + test + ")" for k, test in enumerate(_tests(asked), 1)))
    packed = f"bitShiftLeft(toUnixTimestamp64Milli(timestamp), {_STEP_BITS}) + " + others
    return join(
        " ",
        [
            "SELECT",
            join(", ", ["arraySort(groupArray(" + packed + ")) AS trail_0", _breakdown(asked)]),
            "FROM events AS e ANY LEFT JOIN (",
            aliases(workspace_id),
            ") AS a ON a.node_id = e.node_id WHERE",
            join(" AND ", conditions),
            "GROUP BY",
            profile_of("e.node_id", "a"),
        ],
    )


def _breakdown(asked: Funnel) -> Statement:
    if not asked.breakdown:
        return EMPTY
    first = "argMinIf(" + as_text(asked.breakdown, "breakdown") + ", (timestamp, received_partition, received_offset), "
    return first + _tests(asked)[0] + ") AS breakdown"


def _tests(asked: Funnel) -> list[Statement]:
    """Per step, the condition that an event is it."""
    return [_test(k, step, names) for k, (step, names) in enumerate(zip(asked.steps, asked.names, strict=True))]


def _test(k: int, step: FunnelStep, names: tuple[str, ...]) -> Statement:
    named = "event IN " + value(f"step{k}", "Array(String)", list(names))
    filters = (condition(chosen, f"step{k}_{number}") for number, chosen in enumerate(step.filters))
    return "(" + join(" AND ", [named, *filters]) + ")"


def _hits(asked: Funnel, k: int) -> Statement:
    """Per event of a trail, the start of the way that it brings to step k."""
    is_other = f"bitTest(x, {_bit(asked, k)})"
    if k == 1:
        return Statement(f"arrayMap(x -> if({is_other}, {_NEVER}, {_AT}), trail_0) AS hits_1")
    start = f"if({is_other} OR {_AT} - start > " + _window(asked) + f", {_NEVER}, start)"
    return "arrayMap((x, start) -> " + start + f", trail_{k - 1}, starts_{k - 1}) AS hits_{k}"


def _reached(asked: Funnel, k: int) -> list[Statement]:
    reached = [Statement(f"arrayExists(start -> start != {_NEVER}, hits_{k}) AS step_{k}")]
    if _is_timed(asked, k):
        taken = f"arrayMap((x, start) -> {_AT} - start, trail_{k - 1}, hits_{k})"
        reached.append("arrayFirst(ms -> ms <= " + _window(asked) + f", {taken}) AS taken_{k}")
    return reached


def _left(asked: Funnel, k: int) -> list[str]:
    """What the next step goes on from: the trail and, per event, the start of the latest way to step k before it."""
    lasting = f"hits_{k}" if asked.order == "strict" else f"arrayFill(start -> start != {_NEVER}, hits_{k})"
    starts = f"arrayShiftRight({lasting}, 1, {_NEVER})"
    return [f"if(step_{k}, trail_{k - 1}, []) AS trail_{k}", f"if(step_{k}, {starts}, []) AS starts_{k}"]


def _is_timed(asked: Funnel, k: int) -> bool:
    return asked.times and k > 1


def _bit(asked: Funnel, k: int) -> int:
    return len(asked.steps) - k


def _window(asked: Funnel) -> Statement:
    return value("window_ms", "Int64", asked.window_ms)
