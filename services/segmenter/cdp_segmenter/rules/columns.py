"""All rules of a workspace -> small questions about some profiles, whose answers `decide` reads in memory.

The profiles' records are asked for first; they say which nodes' events to ask for.

The server's analysis of a question costs the same for one profile as for thousands, and grows with every expression
in it: a hundred rules as SQL take it longer than the rows do. So each fact is read once, whatever the number of rules
about it, and events that no filter reads come as counts per name and age: the text stays the same for a thousand rules.
"""

from collections.abc import Iterator, Sequence
from datetime import datetime, timedelta
from typing import Final

from cdp_clickhouse.statement import Statement
from cdp_segmenter.rules.ast import And, Condition, EventCondition, Field, InSegment, Not, Or, Rule, TraitIs
from cdp_segmenter.rules.bound import Bound
from cdp_segmenter.rules.fact_columns import fact_columns
from cdp_segmenter.rules.leaves import event_aggregate, ltv_micros, reads_properties, stored_names, trait_condition
from cdp_segmenter.rules.nodes import MS, Nodes, name_sql, named_sql, number_sql, of_nodes_sql
from cdp_segmenter.rules.rewrite import simplified
from cdp_segmenter.rules.rows_sql import ScopeRows
from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.times import epoch_ms, whole_ms

_MS: Final = timedelta(milliseconds=1)


class Columns:
    """Which facts the rules need. A fact is a column of ``profiles``; ``verdicts`` are decided by the store itself.

    An event is counted under its name (1 is the first of ``names``) and its age: how many of ``windows``, longest
    first, it is young enough for. Both are one number, its code. ``aggregates`` are the conditions that read
    properties, each a column of its own.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self.rules: tuple[Condition, ...] = tuple(map(simplified, rules))
        leaves = list(dict.fromkeys(leaf for rule in self.rules for leaf in _leaves(rule)))
        self.facts: dict[Field, list[TraitIs]] = {}
        self.verdicts = [leaf for leaf in leaves if isinstance(leaf, TraitIs) and _is_of_objects(leaf)]
        for leaf in leaves:
            if isinstance(leaf, TraitIs) and leaf not in self.verdicts:
                self.facts.setdefault(leaf.field, []).append(leaf)
        self.widths = [len(fact_columns(Bound(), field)) for field in self.facts]
        self.manual = [leaf for leaf in leaves if isinstance(leaf, InSegment)]
        events = [leaf for leaf in leaves if isinstance(leaf, EventCondition)]
        self.aggregates = [leaf for leaf in events if reads_properties(leaf)]
        self.counted = [leaf for leaf in events if not reads_properties(leaf)]
        # filters cannot move the moment at which an event leaves a window: names and ages tell it for all conditions
        timed = [*self.counted, *(leaf for leaf in self.aggregates if leaf.window is not None)]
        self.names = tuple(sorted({name for leaf in timed for name in stored_names(leaf)}))
        windows = {leaf.window for leaf in timed if leaf.window is not None}
        self.windows: tuple[timedelta, ...] = tuple(sorted(windows, reverse=True))
        self.ages = len(self.windows) + 1
        self.span = any(leaf.aggregate in ("first", "last") for leaf in self.counted)

    def stays_ms(self, code: int) -> int | None:
        """How long after it happened an event of this code leaves the shortest window that it is in; None: it is in
        none."""
        age = code % self.ages
        return self.windows[age - 1] // _MS if age else None

    def codes(self, leaf: EventCondition) -> frozenset[int]:
        """The codes of the events that a counted condition counts."""
        youngest = 0 if leaf.window is None else self.windows.index(leaf.window) + 1
        numbers = [self.names.index(name) + 1 for name in stored_names(leaf)]
        return frozenset(number * self.ages + age for number in numbers for age in range(youngest, self.ages))

    @property
    def reads_events(self) -> bool:
        """Whether any rule does."""
        return bool(self.names or self.aggregates)

    def longest(self, at: datetime) -> int:
        """How long the longest question is, whoever it is about."""
        scope, nodes = Scope("", at, ()), Nodes("", [], [])
        questions = (self.profiles(scope), self.events(nodes, at), self.totals(nodes, at))
        return max(len(question.sql) for question in questions if question is not None)

    def profiles(self, scope: Scope) -> Statement:
        """Rows ``profile_id``; ``f0, f1, ...`` of the facts in their order, then ``v0, v1, ...`` of the verdicts.

        And ``version, identifiers`` where a rule reads events: they tell the nodes that the other questions are about.
        """
        bound = Bound()
        facts = [column for field in self.facts for column in fact_columns(bound, field)]
        shown = ["profile_id", *(("version", "identifiers") if self.reads_events else ())]
        shown += [f"{column} AS f{index}" for index, column in enumerate(facts)]
        now = whole_ms(scope.now)
        shown += [f"{trait_condition(bound, leaf, now)} AS v{index}" for index, leaf in enumerate(self.verdicts)]
        micros = ltv_micros(bound) if self.verdicts else ""
        return bound.statement(f"{micros}SELECT {', '.join(shown)} {ScopeRows(bound, scope).profiles()}")

    def events(self, nodes: Nodes, at: datetime) -> Statement | None:
        """Rows ``number`` of a profile as ``nodes`` have it, ``code`` of a name and an age, ``many`` events of it,
        ``first[, last]`` of them in ms. None where no rule asks.

        Nothing is asked within another question: each level would be analysed, which takes longer than the rows do.
        """
        if not self.names:
            return None
        bound, now = Bound(), whole_ms(at)
        windowed = all(leaf.window is not None for leaf in self.counted)
        ends = bound("Array(Int64)", tuple(epoch_ms(now - window) for window in self.windows))
        age = f"arrayCount(ends -> {MS} > ends, {ends})"
        return bound.statement(
            f"SELECT {number_sql(bound, nodes)} AS number, "
            f"toUInt32({name_sql(bound, self.names)} * {self.ages} + {age}) AS code, count() AS many, "
            f"min({MS}) AS first{f', max({MS}) AS last' if self.span else ''} "
            f"{of_nodes_sql(bound, nodes, self.names, now - self.windows[0] if windowed else None)} "
            "GROUP BY number, code"
        )

    def totals(self, nodes: Nodes, at: datetime) -> Statement | None:
        """Rows ``number`` and columns ``a0, a1, ...`` in the order of ``aggregates``. None where no rule asks."""
        if not self.aggregates:
            return None
        bound, now = Bound(), whole_ms(at)
        names = tuple(sorted({name for leaf in self.aggregates for name in stored_names(leaf)}))
        windows = [leaf.window for leaf in self.aggregates if leaf.window is not None]
        since = now - max(windows) if len(windows) == len(self.aggregates) else None
        totals = [event_aggregate(bound, leaf, names, now) for leaf in self.aggregates]
        shown = ", ".join(f"{total} AS a{index}" for index, total in enumerate(totals))
        return bound.statement(
            f"WITH {named_sql(bound, names)} SELECT {number_sql(bound, nodes)} AS number, {shown} "
            f"{of_nodes_sql(bound, nodes, names, since)} GROUP BY number"
        )


def _leaves(rule: Condition) -> Iterator[Condition]:
    match rule:
        case And(conditions) | Or(conditions):
            for condition in conditions:
                yield from _leaves(condition)
        case Not(condition):
            yield from _leaves(condition)
        case _:
            yield rule


def _is_of_objects(leaf: TraitIs) -> bool:
    """Whether an object as a value makes a difference: the store then has to look below the path."""
    return leaf.field.space == "attributes" and leaf.comparison.operator == "exists"
