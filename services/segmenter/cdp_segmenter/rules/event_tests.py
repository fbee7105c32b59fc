"""Counts of events by name and age, or aggregates of them -> for each condition the profiles that satisfy it."""

import math
from collections import defaultdict
from collections.abc import Iterable, Iterator, Sequence
from decimal import Decimal
from typing import Any, Final

from cdp_segmenter.rules.ast import Aggregate, Comparison, EventCondition
from cdp_segmenter.rules.columns import Columns
from cdp_segmenter.rules.compare import satisfied
from cdp_segmenter.rules.fact_columns import instant_of_ms
from cdp_segmenter.rules.look import REMEMBERED, Answer, Look
from cdp_segmenter.rules.moments import moves_with_time, turns

_NOTHING: Final[dict[Aggregate, Any]] = {"count": 0, "sum": 0, "first": None, "last": None}
_FEW: Final = 8  # codes of a profile whose counts others may share; of more, no two have the same counts


class CountTests:
    """Conditions on how often events happened. Profiles with the same counts are tested once, also in evaluations to
    come: an age is relative to the moment of the look, so no clock moves a test of counts."""

    def __init__(self, columns: Columns) -> None:
        self.leaves = [leaf for leaf in columns.counted if leaf.aggregate == "count"]
        # equal sets of codes are one sum
        sums: dict[frozenset[int], list[tuple[int, Comparison]]] = {}
        for place, leaf in enumerate(self.leaves):
            sums.setdefault(columns.codes(leaf), []).append((place, leaf.comparison))
        self._tests = list(sums.values())
        self._sums_of: dict[int, list[int]] = {}
        for index, codes in enumerate(sums):
            for code in codes:
                self._sums_of.setdefault(code, []).append(index)
        self._all_same_from = [_all_same_from(comparison for _, comparison in tests) for tests in self._tests]
        self._held: list[dict[int, int]] = [{} for _ in sums]
        self._without = [self._holding(index, 0) for index in range(len(sums))]
        self.of_nothing = sum(self._without)
        self._known: dict[tuple[Any, ...], int] = {}

    def held(self, codes: Sequence[int], counts: Sequence[int]) -> int:
        """The conditions that hold for a profile with so many events of each code, as bits."""
        if len(codes) > _FEW:
            return self._tested(codes, counts)
        key = (*codes, *counts)
        held = self._known.get(key)
        if held is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            held = self._known[key] = self._tested(codes, counts)
        return held

    def _tested(self, codes: Sequence[int], counts: Sequence[int]) -> int:
        totals: dict[int, int] = {}
        for code, count in zip(codes, counts, strict=True):
            for index in self._sums_of.get(code, ()):
                totals[index] = totals.get(index, 0) + count
        held = self.of_nothing
        for index, total in totals.items():
            held += self._holding(index, total) - self._without[index]
        return held

    def _holding(self, index: int, total: int) -> int:
        """The conditions over one sum that hold for this total; each has a place of its own, so they can be added."""
        known = self._held[index]
        total = min(total, self._all_same_from[index])
        if total not in known:
            if len(known) >= REMEMBERED:
                known.clear()
            known[total] = sum(1 << place for place, test in self._tests[index] if satisfied(test, float(total), None))
        return known[total]


class EventTests:
    """All conditions about events."""

    def __init__(self, columns: Columns) -> None:
        self._counts = CountTests(columns)
        every = range(columns.ages * (len(columns.names) + 1))
        self._stays = [columns.stays_ms(code) for code in every]
        self._spans = [leaf for leaf in columns.counted if leaf.aggregate != "count"]
        self._codes = [columns.codes(leaf) for leaf in self._spans]
        self._aggregates = columns.aggregates

    @property
    def leaves(self) -> list[EventCondition]:
        """In the order of the answer."""
        return [*self._counts.leaves, *self._spans, *self._aggregates]

    def holders(self, look: Look, everyone: Sequence[int], events: Answer, totals: Answer) -> list[int]:
        """``everyone`` are the numbers of the profiles that exist, with or without events."""
        columns = [self._spanned(codes, leaf, events) for codes, leaf in zip(self._codes, self._spans, strict=True)]
        spans = [_holders(look, leaf, everyone, seen) for leaf, seen in zip(self._spans, columns, strict=True)]
        numbers = totals.get("number", ())
        filtered = [
            _holders(look, leaf, everyone, dict(zip(numbers, totals[f"a{index}"], strict=True)) if numbers else {})
            for index, leaf in enumerate(self._aggregates)
        ]
        return [*self._counted(look, everyone, events), *spans, *filtered]

    def _counted(self, look: Look, everyone: Sequence[int], events: Answer) -> list[int]:
        counted: defaultdict[int, tuple[list[int], list[int]]] = defaultdict(lambda: ([], []))
        for number, code, many, first in _rows(events, "code", "many", "first"):
            codes, counts = counted[number]
            codes.append(code)
            counts.append(many)
            if (stays := self._stays[code]) is not None:
                look.turns_at(number, first + stays)
        found: dict[int, list[int]] = {self._counts.of_nothing: [one for one in everyone if one not in counted]}
        for number, (codes, counts) in counted.items():
            found.setdefault(self._counts.held(codes, counts), []).append(number)
        return look.spread(found, len(self._counts.leaves))

    def _spanned(self, wanted: frozenset[int], leaf: EventCondition, events: Answer) -> dict[int, int]:
        """Profile -> ms of its first or last event that counts."""
        earliest = leaf.aggregate == "first"
        nearest = min if earliest else max
        seen: dict[int, int] = {}
        for number, code, ms in _rows(events, "code", "first" if earliest else "last"):
            if code in wanted:
                seen[number] = nearest(seen.get(number, ms), ms)
        return seen


def _rows(events: Answer, *names: str) -> Iterator[tuple[int, ...]]:
    """The profile's number and these columns; nothing where no event was found."""
    numbers = events.get("number", ())
    return zip(numbers, *(events[name] for name in names), strict=True) if numbers else iter(())


def _holders(look: Look, leaf: EventCondition, everyone: Iterable[int], seen: dict[int, Any]) -> int:
    """The profiles whose aggregate satisfies a condition; who is not among ``seen`` has no such event."""
    known: dict[Any, bool] = {}
    held = []
    for number in everyone:
        read = seen.get(number, _NOTHING[leaf.aggregate])
        if read not in known:
            known[read] = satisfied(leaf.comparison, _value(leaf.aggregate, read), look.now)
        if known[read]:
            held.append(number)
        if read is not None and moves_with_time(leaf):
            for moment in turns(leaf.comparison, instant_of_ms(read), look.now):
                look.turns_at(number, moment)
    return look.set_of(held)


def _all_same_from(comparisons: Iterable[Comparison]) -> int:
    """A count that no comparison tells from any higher one."""
    values = [one.value if isinstance(one.value, tuple) else (one.value,) for one in comparisons]
    numbers = [number for some in values for number in some if isinstance(number, int | float | Decimal)]
    return max((math.floor(number) + 1 for number in numbers), default=0)


def _value(aggregate: Aggregate, read: Any) -> Any:
    """What ``match.aggregate`` gives where the store gives this."""
    match aggregate:
        case "count":
            return float(read)
        case "sum":
            return Decimal(read).scaleb(-6)
    return instant_of_ms(read)
