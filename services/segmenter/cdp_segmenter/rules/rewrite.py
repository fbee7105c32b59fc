"""A rule -> an equivalent one: references replaced by what they refer to, groups flattened, conditions in one form."""

from collections.abc import Mapping

from cdp_segmenter.rules.ast import And, Condition, EventCondition, InSegment, ItemsAre, Not, Or, Rule


def inline(rule: Rule, definitions: Mapping[str, Rule | None]) -> Rule:
    """The rule with references to segments of ``definitions`` replaced by their rules, however deep.

    A manual segment (None) keeps its InSegment: its members are facts. An unknown one has no members.
    References must not be circular (``check_references``).
    """
    match rule:
        case InSegment(segment_id):
            if segment_id not in definitions:
                return Or(())
            target = definitions[segment_id]
            return rule if target is None else inline(target, definitions)
        case And(conditions):
            return And(tuple(inline(condition, definitions) for condition in conditions))
        case Or(conditions):
            return Or(tuple(inline(condition, definitions) for condition in conditions))
        case Not(condition):
            return Not(inline(condition, definitions))
    return rule


def simplified(rule: Condition) -> Condition:
    """Flat groups without repeats, double negations gone: equal conditions become equal trees, to be asked once."""
    match rule:
        case And(conditions):
            return _group(And, conditions)
        case Or(conditions):
            return _group(Or, conditions)
        case Not(condition):
            inner = simplified(condition)
            return inner.condition if isinstance(inner, Not) else Not(inner)
        case ItemsAre(path, quantifier, condition):
            return ItemsAre(path, quantifier, simplified(condition))
        case EventCondition(names, aggregate, comparison, property_, window, filters) if filters is not None:
            lean = simplified(filters)
            return EventCondition(names, aggregate, comparison, property_, window, None if lean == And(()) else lean)
    return rule


def _group(kind: type[And] | type[Or], conditions: tuple[Condition, ...]) -> Condition:
    flat: dict[Condition, None] = {}
    for condition in map(simplified, conditions):
        inner = condition.conditions if isinstance(condition, kind) else (condition,)
        flat.update(dict.fromkeys(inner))
    return next(iter(flat)) if len(flat) == 1 else kind(tuple(flat))
