"""Answers to the questions of `columns` -> who satisfies each rule, and when time alone may change that."""

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from cdp_segmenter.rules.ast import And, Condition, Not, Or
from cdp_segmenter.rules.columns import Columns
from cdp_segmenter.rules.event_tests import EventTests
from cdp_segmenter.rules.fact_tests import FactTests
from cdp_segmenter.rules.look import Answer, Look

_Verdict = Callable[[Sequence[int], int], int]


@dataclass(frozen=True, slots=True)
class Decided:
    """Profiles by their number in the scope: per rule those who satisfy it, as bits; and for those whose answers time
    alone may change, when that is next, in milliseconds since 1970."""

    members: list[int]
    next_ms: dict[int, int]


def together(parts: Sequence[Decided]) -> Decided:
    """What was decided about the same profiles by some rules each, in the order of the rules."""
    next_ms: dict[int, int] = {}
    for number, ms in (moment for part in parts for moment in part.next_ms.items()):
        next_ms[number] = min(ms, next_ms.get(number, ms))
    return Decided([members for part in parts for members in part.members], next_ms)


class Decider:
    """A set of rules, prepared once for many looks. Every comparison is made by the code that ``match`` uses."""

    def __init__(self, columns: Columns) -> None:
        self.columns = columns
        self._facts = [FactTests(field, leaves) for field, leaves in columns.facts.items()]
        self._events = EventTests(columns)
        facts = [leaf for tests in self._facts for leaf in tests.leaves]
        leaves: list[Condition] = [*facts, *columns.verdicts, *columns.manual, *self._events.leaves]
        places = {leaf: place for place, leaf in enumerate(leaves)}
        self._verdicts = [_verdict(rule, places) for rule in columns.rules]

    def decide(
        self, look: Look, profiles: Answer, events: Answer, totals: Answer, manual: Mapping[str, int]
    ) -> Decided:
        """The answers to the questions of ``columns``; ``manual`` holds the members of manual segments."""
        there = look.numbers(profiles.get("profile_id", ()))
        if not there:
            return Decided([0] * len(self._verdicts), {})
        held: list[int] = []
        start = 0
        for tests, width in zip(self._facts, self.columns.widths, strict=True):
            columns = [profiles[f"f{index}"] for index in range(start, start + width)]
            held += tests.holders(look, there, columns)
            start += width
        for index in range(len(self.columns.verdicts)):
            verdicts = zip(there, profiles[f"v{index}"], strict=True)
            held.append(look.set_of(number for number, verdict in verdicts if verdict))
        held += [manual.get(leaf.segment_id, 0) for leaf in self.columns.manual]
        held += self._events.holders(look, there, events, totals)
        everyone = look.set_of(there)
        return Decided([verdict(held, everyone) & everyone for verdict in self._verdicts], look.next_ms)


def _verdict(rule: Condition, places: Mapping[Condition, int]) -> _Verdict:
    """The rule as a function of the sets of profiles that satisfy its conditions."""
    match rule:
        case And(conditions):
            return _all([_verdict(condition, places) for condition in conditions])
        case Or(conditions):
            return _any([_verdict(condition, places) for condition in conditions])
        case Not(condition):
            inner = _verdict(condition, places)
            return lambda held, everyone: everyone & ~inner(held, everyone)
    place = places[rule]
    return lambda held, _: held[place]


def _all(verdicts: Sequence[_Verdict]) -> _Verdict:
    def of_all(held: Sequence[int], everyone: int) -> int:
        found = everyone
        for verdict in verdicts:
            found &= verdict(held, everyone)
        return found

    return of_all


def _any(verdicts: Sequence[_Verdict]) -> _Verdict:
    def of_any(held: Sequence[int], everyone: int) -> int:
        found = 0
        for verdict in verdicts:
            found |= verdict(held, everyone)
        return found

    return of_any
