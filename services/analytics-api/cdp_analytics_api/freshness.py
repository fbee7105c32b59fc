"""Costly answers -> the same answer for all who ask within a moment, refreshed behind their back."""

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from dataclasses import dataclass
from typing import Any, Final, TypeVar, cast

from cdp_runtime.clock import Clock

T = TypeVar("T")
_MOST_KEPT: Final = 1000


@dataclass(frozen=True, slots=True)
class Freshness:
    """Younger than ``fresh`` seconds: given as it is. Younger than ``stale``: given, and refreshed meanwhile.

    What took long stays fresh for ``rest`` times as long again, if its refresh is likely to end before it is stale.
    Where the refresh of a stale one takes longer than ``patience``, it is given until it is ``oldest``, and where the
    refresh fails, until it is ``last``: an answer that says of when it is serves better than a late one, or none.
    """

    fresh: float = 1.0
    stale: float = 5.0
    rest: float = 3.0
    patience: float = 0.1
    oldest: float = 30.0
    last: float = 300.0

    def lasts(self, took: float) -> float:
        """How many seconds after it was begun an answer that took so many is as good as a new one."""
        return max(self.fresh, min(took * (1 + self.rest), self.stale - 2 * took))


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Any
    at: float
    fresh_until: float


class FreshAnswers:
    """Keeps answers by key (a workspace leads every key); many who ask at once cause one computation."""

    def __init__(self, clock: Clock, freshness: Freshness = Freshness()) -> None:
        self._clock, self._freshness = clock, freshness
        self._kept: dict[Hashable, _Kept] = {}
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, compute: Callable[[], Awaitable[T]]) -> T:
        """Raises what ``compute`` raises, when there is nothing fresh enough to give instead."""
        kept = self._kept.get(key)
        now = self._clock.monotonic()
        if kept is not None and now < kept.fresh_until:
            return cast(T, kept.answer)
        task = self._refresh(key, compute)
        if kept is not None and now < kept.at + self._freshness.stale:
            return cast(T, kept.answer)
        if kept is not None and now < kept.at + self._freshness.oldest:
            done, _ = await asyncio.wait({task}, timeout=self._freshness.patience)
            if not done:
                return cast(T, kept.answer)
        try:
            return cast(T, await asyncio.shield(task))
        except Exception:
            if kept is None or now >= kept.at + self._freshness.last:
                raise
            return cast(T, kept.answer)

    def _refresh(self, key: Hashable, compute: Callable[[], Awaitable[T]]) -> asyncio.Task[Any]:
        task = self._under_way.get(key)
        if task is None:
            task = self._under_way[key] = asyncio.ensure_future(self._compute(key, compute))
            task.add_done_callback(lambda done: self._settled(key, done))
        return task

    async def _compute(self, key: Hashable, compute: Callable[[], Awaitable[T]]) -> T:
        began = self._clock.monotonic()
        answer = await compute()
        if len(self._kept) >= _MOST_KEPT:
            self._kept.clear()
        took = self._clock.monotonic() - began
        self._kept[key] = _Kept(answer, began, began + self._freshness.lasts(took))
        return answer

    def _settled(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen: nobody may have waited for a refresh
