"""A profile's row of memberships as Postgres keeps it: read, changed in the order of its sequences, written back."""

from collections.abc import Collection, Container, Sequence
from dataclasses import dataclass, field
from itertools import compress
from operator import attrgetter

from cdp_runtime.postgres_arrays import Array, array, integers, texts
from cdp_segmenter.ports import OutOfStep


@dataclass(slots=True)
class Held:
    """A row of one profile: side by side the segments it ever was in, their sequences, and when those changed last."""

    revision: int = 0
    segments: list[int] = field(default_factory=list)
    sequences: list[int] = field(default_factory=list)
    changed_ms: list[int] = field(default_factory=list)
    _places: dict[int, int] = field(default_factory=dict, repr=False, compare=False)  # segment -> its place

    def sequence(self, number: int) -> int:
        """0 when it never was in."""
        place = self._place(number)
        return self.sequences[place] if place is not None else 0

    def put(self, number: int, sequence: int, at_ms: int) -> None:
        """The next change. Raises OutOfStep for one that does not follow the last."""
        place = self._place(number)
        last = self.sequences[place] if place is not None else 0
        if sequence != last + 1:
            raise OutOfStep(f"change {sequence} of segment {number} follows {last}")
        if place is None:
            self._places[number] = len(self.segments)
            self.segments.append(number)
            self.sequences.append(1)
            self.changed_ms.append(at_ms)
        else:
            self.sequences[place], self.changed_ms[place] = sequence, at_ms

    def _place(self, number: int) -> int | None:
        if len(self._places) != len(self.segments):
            self._places = {segment: place for place, segment in enumerate(self.segments)}
        return self._places.get(number)

    def forget_others(self, known: Container[int]) -> None:
        """Only segments that are known stay."""
        stays = [number in known for number in self.segments]
        if all(stays):
            return
        for column in (self.segments, self.sequences, self.changed_ms):
            column[:] = compress(column, stays)
        self._places.clear()


def columns(rows: Collection[Held]) -> list[Array]:
    """One array per column of the table."""
    lists = map(attrgetter, ("segments", "sequences", "changed_ms"))
    return [
        array([row.revision for row in rows], integers),
        *(array([_list(column(row)) for row in rows], texts) for column in lists),
    ]


def _list(column: Sequence[int]) -> str:
    """An array of numbers as an element of an array of texts."""
    return f"{{{','.join(map(str, column))}}}"
