"""Attempts of many keys -> let through, or how long to wait: counted by this process alone, in bounded memory."""

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

_MOST_KEYS: Final = 20_000


class Rates:
    """``burst`` attempts of a key at once, then ``per_minute``.

    One number per key: the time at which the key would have its whole burst again. Beyond ``most`` keys the one that
    was let through longest ago is forgotten: whoever has that many addresses gains nothing by it.
    """

    def __init__(
        self, per_minute: float, burst: float, monotonic: Callable[[], float], *, most: int = _MOST_KEYS
    ) -> None:
        self._step, self._burst_seconds = 60 / per_minute, burst * 60 / per_minute
        self._monotonic, self._most = monotonic, most
        self._rested: OrderedDict[str, float] = OrderedDict()

    def admit(self, key: str) -> float:
        """0 when the attempt may be made, and then it counts; else the seconds until one may."""
        now = self._monotonic()
        rested = max(now, self._rested.get(key, now)) + self._step
        wait = rested - now - self._burst_seconds
        if wait > 0:
            return wait
        self._rested[key] = rested
        self._rested.move_to_end(key)
        if len(self._rested) > self._most:
            self._rested.popitem(last=False)
        return 0.0

    def forgive(self, key: str) -> None:
        """An attempt that counted shall not."""
        if key in self._rested:
            self._rested[key] -= self._step
