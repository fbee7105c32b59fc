"""A parsed rule -> its faults as a whole: too deep, too costly, unknown or circular segment references.

A reference is unfolded when a rule is evaluated, so a rule has a depth and a cost of its own and those of the whole.
"""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from graphlib import CycleError, TopologicalSorter
from typing import Final

from cdp_segmenter.rules.ast import And, Condition, EventCondition, InSegment, ItemsAre, Not, Or, Rule, TraitIs

MAX_DEPTH: Final = 10
MAX_COST: Final = 500
# with everything referred to: what one question to ClickHouse can be about, and what recursion over a rule can reach
MAX_WHOLE_DEPTH: Final = 50
MAX_WHOLE_COST: Final = 1000
_NOTHING: Final[Mapping[str, int]] = {}


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong with a rule and where: ``rules.conditions[1].operator``."""

    path: str
    message: str


class InvalidRule(ValueError):
    """The rule cannot be used; every fault that was found, in the order of the rule."""

    def __init__(self, faults: list[Fault]) -> None:
        super().__init__("; ".join(f"{fault.path}: {fault.message}" for fault in faults))
        self.faults = faults


def check(rule: Rule, path: str = "rules") -> None:
    """Raises InvalidRule when the rule is nested too deep or costs too much to evaluate."""
    if (levels := depth(rule)) > MAX_DEPTH:
        raise InvalidRule([Fault(path, f"groups are nested {levels} deep, at most {MAX_DEPTH} are allowed")])
    if (total := cost(rule)) > MAX_COST:
        message = f"the rule costs {total} points to evaluate, at most {MAX_COST} are allowed"
        raise InvalidRule([Fault(path, message)])


def depth(condition: Condition, wholes: Mapping[str, int] = _NOTHING) -> int:
    """Levels of groups: 1 for a lone condition, for a reference those of ``wholes``."""
    if isinstance(condition, InSegment):
        return wholes.get(condition.segment_id, 1)
    return 1 + max((depth(child, wholes) for child in children(condition)), default=0)


def cost(condition: Condition, wholes: Mapping[str, int] = _NOTHING) -> int:
    """Points: 1 for a fact of the profile, 5 for an event aggregate, 5 more for each property that it reads.

    A reference costs what ``wholes`` says, or 1.
    """
    match condition:
        case InSegment(segment_id):
            return wholes.get(segment_id, 1)
        case TraitIs():
            return 1
        case EventCondition():
            return 5 + 5 * bool(condition.property) + 5 * _tests(condition.filters)
    return sum(cost(child, wholes) for child in children(condition))


def check_references(segment_id: str, rule: Rule, others: Mapping[str, Rule | None], path: str = "rules") -> None:
    """Raises InvalidRule for a reference to no segment, or one that leads back to ``segment_id``; and where this rule,
    or one that refers to it however indirectly, would be too deep or cost too much with all that it refers to.

    ``others`` are the workspace's segments, with None for those without a rule (manual ones).
    """
    known = {**others, segment_id: rule}
    named = {one: references(known[one]) for one in known}
    unknown = sorted(named[segment_id] - known.keys())
    if unknown:
        raise InvalidRule([Fault(path, f"there is no segment {one!r} in this workspace") for one in unknown])
    try:
        order = list(TopologicalSorter(named).static_order())
    except CycleError as error:
        circle = " -> ".join(_from(segment_id, error.args[1]))
        raise InvalidRule([Fault(path, f"the segments refer to one another in a circle: {circle}")]) from error
    depths: dict[str, int] = {}
    costs: dict[str, int] = {}
    changed, faults = {segment_id}, []
    for one in order:
        if (its_rule := known.get(one)) is None:
            continue
        depths[one], costs[one] = depth(its_rule, depths), max(cost(its_rule, costs), 1)
        if one == segment_id or named[one] & changed:
            changed.add(one)
            which = "the rule" if one == segment_id else f"the segment {one!r}, which refers to this one,"
            whole = f"{which} with all that it refers to ({', '.join(sorted(named[one]))})"
            if depths[one] > MAX_WHOLE_DEPTH:
                faults.append(
                    Fault(path, f"{whole} is nested {depths[one]} deep, at most {MAX_WHOLE_DEPTH} are allowed")
                )
            if costs[one] > MAX_WHOLE_COST:
                faults.append(Fault(path, f"{whole} costs {costs[one]} points, at most {MAX_WHOLE_COST} are allowed"))
    if faults:
        raise InvalidRule(faults)


def references(rule: Rule | None) -> set[str]:
    """Ids of the segments that a rule names itself."""
    return {node.segment_id for node in walk(rule) if isinstance(node, InSegment)}


def walk(condition: Condition | None) -> Iterator[Condition]:
    """The condition and everything inside it, filters of events included."""
    if condition is None:
        return
    yield condition
    for child in children(condition):
        yield from walk(child)


def children(condition: Condition) -> tuple[Condition, ...]:
    """What a condition is directly made of."""
    match condition:
        case And(conditions) | Or(conditions):
            return conditions
        case Not(inner):
            return (inner,)
        case ItemsAre(_, _, inner):
            return (inner,)
        case EventCondition(filters=inner) if inner is not None:
            return (inner,)
    return ()


def _tests(filters: Condition | None) -> int:
    return sum(1 for node in walk(filters) if not children(node))


def _from(first: str, circle: Sequence[str]) -> list[str]:
    """A circle, in which each segment is referred to by the next, in the order of the references and from ``first``."""
    turned = list(reversed(circle))[1:]
    start = turned.index(first) if first in turned else 0
    return [*turned[start:], *turned[:start], turned[start]]
