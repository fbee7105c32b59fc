"""A parsed rule -> its faults as a whole: too deep, too costly, unknown or circular segment references."""

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Final

from cdp_segmenter.rules.ast import And, Condition, EventCondition, InSegment, ItemsAre, Not, Or, Rule, TraitIs

MAX_DEPTH: Final = 10
MAX_COST: Final = 500


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
    faults = []
    if (levels := depth(rule)) > MAX_DEPTH:
        faults.append(Fault(path, f"groups are nested {levels} deep, at most {MAX_DEPTH} are allowed"))
    elif (total := cost(rule)) > MAX_COST:
        faults.append(Fault(path, f"the rule costs {total} points to evaluate, at most {MAX_COST} are allowed"))
    if faults:
        raise InvalidRule(faults)


def depth(condition: Condition) -> int:
    """Levels of groups: 1 for a lone condition."""
    below = max(map(depth, children(condition)), default=0)
    return below + 1


def cost(condition: Condition) -> int:
    """Points: 1 for a fact of the profile, 5 for an event aggregate, 5 more for each property that it reads."""
    own = {TraitIs: 1, InSegment: 1, EventCondition: 5}.get(type(condition), 0)
    if isinstance(condition, EventCondition):
        own += 5 * bool(condition.property) + 5 * _tests(condition.filters)
        return own
    return own + sum(map(cost, children(condition)))


def check_references(segment_id: str, rule: Rule, others: Mapping[str, Rule | None], path: str = "rules") -> None:
    """Raises InvalidRule for a reference to no segment, or one that leads back to ``segment_id``.

    ``others`` are the workspace's segments, with None for those without a rule (manual ones).
    """
    known = {**others, segment_id: rule}
    faults = [
        Fault(path, f"there is no segment {reference!r} in this workspace")
        for reference in sorted(references(rule))
        if reference not in known
    ]
    if not faults and (cycle := _cycle(segment_id, known, ())):
        faults.append(Fault(path, f"the segments refer to one another in a circle: {' -> '.join(cycle)}"))
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


def _cycle(at: str, known: Mapping[str, Rule | None], above: tuple[str, ...]) -> tuple[str, ...]:
    """The ids from a segment back to itself; empty when there is no way back."""
    if at in above:
        return (*above[above.index(at) :], at)
    for reference in sorted(references(known.get(at))):
        if cycle := _cycle(reference, known, (*above, at)):
            return cycle
    return ()
