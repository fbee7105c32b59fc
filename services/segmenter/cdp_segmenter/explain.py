"""A rule and the facts of one profile -> why it is a member or not, condition by condition."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from fractions import Fraction
from typing import Any

from cdp_segmenter.rules.ast import And, Condition, EventCondition, InSegment, Not, Or, TraitIs
from cdp_segmenter.rules.check import walk
from cdp_segmenter.rules.describe import describe, shown
from cdp_segmenter.rules.facts import Facts
from cdp_segmenter.rules.leaves import stored_names
from cdp_segmenter.rules.match import aggregate, match, seen
from cdp_segmenter.rules.times import whole_ms


@dataclass(frozen=True, slots=True)
class Explanation:
    """One condition: its words, whether it holds, what was seen (None for a group), and the conditions inside it.

    ``is_personal``: what was seen is what the person or their identifiers said, and not computed.
    """

    description: str
    holds: bool
    seen: str | None
    inside: tuple["Explanation", ...] = ()
    is_personal: bool = False


def explain(rule: Condition, facts: Facts, now: datetime) -> Explanation:
    """The whole tree, each verdict by the reference evaluator."""
    now = whole_ms(now)
    holds = match(rule, facts, now)
    match rule:
        case And(conditions) | Or(conditions):
            return Explanation(describe(rule), holds, None, tuple(explain(one, facts, now) for one in conditions))
        case Not(condition):
            return Explanation(describe(rule), holds, None, (explain(condition, facts, now),))
    is_personal = isinstance(rule, TraitIs) and rule.field.space in ("attributes", "identifiers")
    return Explanation(describe(rule), holds, _seen(rule, facts, now), is_personal=is_personal)


def event_names(rule: Condition) -> Sequence[str]:
    """The stored names of every event that the rule asks about."""
    leaves = [node for node in walk(rule) if isinstance(node, EventCondition)]
    return sorted({name for leaf in leaves for name in stored_names(leaf)})


def _seen(leaf: Condition, facts: Facts, now: datetime) -> str:
    if isinstance(leaf, TraitIs):
        return _plain(seen(leaf.field, facts, now))
    if isinstance(leaf, EventCondition):
        return _plain(aggregate(leaf, facts.events, now))
    return "a member" if isinstance(leaf, InSegment) and leaf.segment_id in facts.segments else "no member"


def _plain(value: Any) -> str:
    if value is None:
        return "missing"
    if isinstance(value, Fraction):  # an average
        return f"{float(value):,.2f}"
    return shown(value)
