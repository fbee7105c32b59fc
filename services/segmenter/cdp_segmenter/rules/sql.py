# ruff: noqa: S608 - every value is bound, every name quoted by `identifier`
"""Rules of a workspace -> one ClickHouse query: who is in which segment.

Equal conditions of different segments are asked once. Each source (profiles, a few branches of the events) turns its
conditions into bits of a few words per profile; the words of all sources are joined by OR; each verdict is a boolean of
bits. A condition that holds for a profile without events is asked in its opposite, so that no row means no.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final
from uuid import UUID

from cdp_clickhouse.statement import Statement
from cdp_segmenter.rules.ast import And, Condition, EventCondition, InSegment, Not, Or, Rule, TraitIs
from cdp_segmenter.rules.bound import Bound
from cdp_segmenter.rules.leaves import (
    aggregate_condition,
    event_aggregate,
    holds_without_events,
    ltv_micros,
    reads_properties,
    stored_names,
    trait_condition,
)
from cdp_segmenter.rules.rewrite import simplified
from cdp_segmenter.rules.rows_sql import ScopeRows
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.times import whole_ms

Members = Mapping[str, Sequence[UUID]]
WORD: Final = 64
_BRANCHES: Final = 4


def members_sql(rules: Sequence[Rule], scope: Scope, manual: Members | None = None) -> Statement:
    """Rows ``profile_id, verdicts``: an array that holds 1 at each rule the profile satisfies, 0 elsewhere.

    Only profiles that exist and satisfy at least one have a row. ``manual`` gives the members of the manual segments
    that the rules refer to, at least those within the scope.
    """
    return _Query(rules, scope, manual or {}).statement("SELECT profile_id, verdicts", " WHERE has(verdicts, 1)")


def sizes_sql(rules: Sequence[Rule], scope: Scope, manual: Members | None = None) -> Statement:
    """One row ``profiles, sizes``: how many profiles there are, and how many satisfy each rule."""
    return _Query(rules, scope, manual or {}).statement("SELECT count() AS profiles, sumForEach(verdicts) AS sizes")


def preview_sql(rule: Rule, scope: Scope, manual: Members | None = None, sample: int = 10) -> Statement:
    """One row ``size, members``: how many profiles satisfy a rule, and some of them."""
    some = f"groupArrayIf({int(sample)})(profile_id, verdicts[1])" if sample else "CAST([], 'Array(UUID)')"
    return _Query([rule], scope, manual or {}).statement(f"SELECT countIf(verdicts[1]) AS size, {some} AS members")


@dataclass(slots=True)
class _Query:
    rules: Sequence[Rule]
    scope: Scope
    manual: Members
    bound: Bound = field(default_factory=Bound)
    rows: ScopeRows = field(init=False)
    now: datetime = field(init=False)
    bits: dict[Condition, int] = field(default_factory=dict)  # bit 0: the profile exists
    verdicts: list[str] = field(init=False)

    def __post_init__(self) -> None:
        self.rows = ScopeRows(self.bound, self.scope)
        self.now = whole_ms(self.scope.now)
        self.verdicts = [self._verdict(simplified(rule)) for rule in self.rules]

    def statement(self, select: str, only: str = "") -> Statement:
        """``select`` over ``profile_id, verdicts`` of every existing profile.

        The verdicts are taken inside a lambda: each mention of a column of a subquery costs the server's analysis time
        that grows with that subquery, and a hundred rules mention the words hundreds of times.
        """
        names = [f"w{word}" for word in range(self._word_count())]
        leaves = [leaf for leaf in self.bits if isinstance(leaf, EventCondition)]
        events = [self._events(some) for some in branches(leaves)]
        sources = " UNION ALL ".join((self._profiles(), *events))
        joined = ", ".join(f"{'groupBitOr' if events else ''}(b{name[1:]}) AS {name}" for name in names)
        grouped = " GROUP BY profile_id HAVING bitTest(w0, 0)" if events else ""
        words = f"SELECT profile_id, {joined} FROM ({sources}) AS facts{grouped}"
        verdicts = f"({', '.join(names)}) -> [{', '.join(self.verdicts)}]"
        decided = f"arrayMap({verdicts}, {', '.join(f'[{name}]' for name in names)})[1] AS verdicts"
        return self.bound.statement(f"{select} FROM (SELECT profile_id, {decided} FROM ({words})){only}")

    def _verdict(self, rule: Condition) -> str:
        match rule:
            case And(conditions):
                return f"({' AND '.join(map(self._verdict, conditions)) or '1'})"
            case Or(conditions):
                return f"({' OR '.join(map(self._verdict, conditions)) or '0'})"
            case Not(condition):
                return f"NOT {self._verdict(condition)}"
        bit = self.bits.setdefault(rule, len(self.bits) + 1)
        test = f"bitTest(w{bit // WORD}, {bit % WORD})"
        inverted = isinstance(rule, EventCondition) and holds_without_events(rule, self.now)
        return f"NOT {test}" if inverted else test

    def _word_count(self) -> int:
        return len(self.bits) // WORD + 1

    def _words(self, shown: Mapping[int, str]) -> str:
        """The words of a source that shows some of the bits."""
        return ", ".join(
            f"{_bits([shown.get(word * WORD + bit, '0') for bit in range(WORD)])} AS b{word}"
            for word in range(self._word_count())
        )

    def _profiles(self) -> str:
        shown = {0: "1"}
        for leaf, bit in self.bits.items():
            if isinstance(leaf, TraitIs):
                shown[bit] = trait_condition(self.bound, leaf, self.now)
            elif isinstance(leaf, InSegment):
                shown[bit] = self.rows.is_one_of(self.manual.get(leaf.segment_id, ()))
        return f"{ltv_micros(self.bound)}SELECT profile_id, {self._words(shown)} {self.rows.profiles()}"

    def _events(self, leaves: Sequence[EventCondition]) -> str:
        names = tuple(sorted({name for leaf in leaves for name in stored_names(leaf)}))
        aggregates = {leaf: event_aggregate(self.bound, leaf, names, self.now) for leaf in leaves}
        columns = {text: f"a{index}" for index, text in enumerate(dict.fromkeys(aggregates.values()))}
        shown = {}
        for leaf in leaves:
            test = aggregate_condition(self.bound, leaf, columns[aggregates[leaf]], self.now)
            shown[self.bits[leaf]] = f"NOT {test}" if holds_without_events(leaf, self.now) else test
        totals = ", ".join(f"{text} AS {name}" for text, name in columns.items())
        rows = self._event_rows(leaves, names)
        return (
            f"SELECT profile_id, {self._words(shown)} FROM "
            f"(SELECT profile_id, {totals} FROM ({rows}) AS e GROUP BY profile_id) AS t"
        )

    def _event_rows(self, leaves: Sequence[EventCondition], names: tuple[str, ...]) -> str:
        """The events that matter, each with the profile its node belongs to by now."""
        windows = [leaf.window for leaf in leaves if leaf.window is not None]
        since = self.now - max(windows) if len(windows) == len(leaves) else None
        return self.rows.events(names, since, properties=any(map(reads_properties, leaves)))


def _bits(conditions: Sequence[str]) -> str:
    """A word with bit i set where the i-th condition holds."""
    terms = [f"multiply({condition}, {1 << bit})" for bit, condition in enumerate(conditions) if condition != "0"]
    return _sum(terms) if terms else "toUInt64(0)"


def _sum(terms: Sequence[str]) -> str:
    """A balanced tree of sums: the server's time for a long chain of + grows with the square of its length."""
    if len(terms) == 1:
        return terms[0]
    middle = len(terms) // 2
    return f"plus({_sum(terms[:middle])}, {_sum(terms[middle:])})"


def branches(leaves: Sequence[EventCondition]) -> list[list[EventCondition]]:
    """Leaves that are answered together: those over the same events, in a few groups of about equal size.

    One pass over all events would hold every aggregate for every profile, in far more memory than any cache; a pass per
    event name would join the aliases as often. Properties are read for none but those who need them.
    """
    groups: list[list[EventCondition]] = []
    for heavy in (False, True):
        by_names: dict[tuple[str, ...], list[EventCondition]] = {}
        for leaf in leaves:
            if reads_properties(leaf) is heavy:
                by_names.setdefault(stored_names(leaf), []).append(leaf)
        some: list[list[EventCondition]] = [[] for _ in range(min(len(by_names), _BRANCHES))]
        for chosen in sorted(by_names.values(), key=len, reverse=True):
            min(some, key=len).extend(chosen)
        groups += some
    return groups
