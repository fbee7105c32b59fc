"""What was read of one field, profile by profile -> for each condition about it the profiles that satisfy it."""

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from cdp_segmenter.rules.ast import Field, TraitIs
from cdp_segmenter.rules.fact_columns import fact, instant_of_ms
from cdp_segmenter.rules.look import REMEMBERED, Look
from cdp_segmenter.rules.match import holds
from cdp_segmenter.rules.moments import is_elapsed, moves_with_time, next_day, turns

Read = tuple[Any, ...]


class FactTests:
    """The conditions about one field. Many profiles hold the same value: each value is tested once, by ``match``.

    What no clock moves is remembered for the next evaluation too.
    """

    def __init__(self, field: Field, leaves: Sequence[TraitIs]) -> None:
        self._field = field
        self._steady = [leaf for leaf in leaves if not moves_with_time(leaf)]
        self._moving = [leaf for leaf in leaves if moves_with_time(leaf)]
        self._known: dict[Read, int] = {}

    @property
    def leaves(self) -> list[TraitIs]:
        """In the order of the answer."""
        return [*self._steady, *self._moving]

    def holders(self, look: Look, there: Sequence[int], columns: Sequence[Sequence[Any]]) -> list[int]:
        """``there`` numbers the profiles of the rows."""
        found: dict[int, list[int]] = {}
        moving: dict[Read, tuple[int, list[datetime]]] = {}
        for number, read in zip(there, self._reads(columns), strict=True):
            held = self._steadily(read, look.now)
            if self._moving:
                if read not in moving:
                    moving[read] = self._now(read, look.now)
                more, moments = moving[read]
                held |= more << len(self._steady)
                for moment in moments:
                    look.turns_at(number, moment)
            found.setdefault(held, []).append(number)
        return look.spread(found, len(self._steady) + len(self._moving))

    def _reads(self, columns: Sequence[Sequence[Any]]) -> Iterable[Read]:
        if self._field.space == "identifiers":
            return ((tuple(names),) for names in columns[0])
        return zip(*columns, strict=True)

    def _steadily(self, read: Read, now: datetime) -> int:
        if not self._steady:
            return 0
        held = self._known.get(read)
        if held is None:
            if len(self._known) >= REMEMBERED:
                self._known.clear()
            held = self._known[read] = self._tested(self._steady, read, now)
        return held

    def _now(self, read: Read, now: datetime) -> tuple[int, list[datetime]]:
        """Which conditions about the clock hold, and when they turn."""
        value = fact(self._field, read, now)
        moments = [at for leaf in self._moving if not is_elapsed(leaf) for at in turns(leaf.comparison, value, now)]
        if any(map(is_elapsed, self._moving)) and (since := instant_of_ms(read[0])) is not None:
            moments.append(next_day(since, now))
        return self._tested(self._moving, read, now), moments

    def _tested(self, leaves: Sequence[TraitIs], read: Read, now: datetime) -> int:
        if not leaves:
            return 0
        value = fact(self._field, read, now)
        verdicts = (holds(self._field, leaf.comparison, value, now) for leaf in leaves)
        return sum(held << place for place, held in enumerate(verdicts))
