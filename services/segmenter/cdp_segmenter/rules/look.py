"""One look at some profiles at one moment: each profile's number, sets of profiles as bits, and who may turn when."""

from collections.abc import Iterable, Mapping, Sequence
from datetime import datetime
from typing import Any, Final
from uuid import UUID

from cdp_segmenter.rules.scope import Scope
from cdp_segmenter.rules.times import epoch_ms, whole_ms

Answer = Mapping[str, Sequence[Any]]
# values whose tests are kept, per workspace and field: of counts of events, up to half a kilobyte each
REMEMBERED: Final = 500


class Look:
    """Bit i of every set stands for profile i of the scope."""

    def __init__(self, scope: Scope) -> None:
        self.now = whole_ms(scope.now)
        self.next_ms: dict[int, int] = {}
        profiles = scope.profiles or ()
        self._numbers = {profile: number for number, profile in enumerate(profiles)}
        self._bits = [1 << number for number in range(len(profiles))]

    def numbers(self, profiles: Iterable[UUID]) -> list[int]:
        """The profiles, all of them of the scope, by their numbers."""
        return [self._numbers[profile] for profile in profiles]

    def set_of(self, numbers: Iterable[int]) -> int:
        return sum(map(self._bits.__getitem__, numbers))

    def spread(self, found: Mapping[int, Sequence[int]], places: int) -> list[int]:
        """Sets of conditions that hold (as bits) -> the profiles of each: per condition the set of profiles."""
        sets = [0] * places
        for conditions, numbers in found.items():
            who = self.set_of(numbers)
            for place in range(places):
                if conditions >> place & 1:
                    sets[place] |= who
        return sets

    def turns_at(self, number: int, moment: int | datetime) -> None:
        """An answer about this profile may be another one from then on."""
        ms = epoch_ms(moment) if isinstance(moment, datetime) else moment
        if ms < self.next_ms.get(number, ms + 1):
            self.next_ms[number] = ms
