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
    """As good as new for ``fresh`` seconds, what took long for ``rest`` times as long again, at most ``longest``.

    Then it is due: whoever asks causes a refresh, and is given the old answer, at once while it has been due for less
    than ``late`` seconds or twice the time it took, after that only where the refresh fails or takes longer than
    ``patience``, and where it has been due for ``old`` seconds, longer than ``most_patience``: an answer that says of
    when it is serves better than a late one. What has been due for ``oldest`` is given to nobody.
    """

    fresh: float = 1.0
    rest: float = 3.0
    longest: float = 30.0
    late: float = 4.0
    patience: float = 0.1
    old: float = 30.0
    most_patience: float = 2.0
    oldest: float = 300.0

    def lasts(self, took: float) -> float:
        """How many seconds after it was begun an answer that took so many is as good as a new one."""
        return max(self.fresh, min(took * (1 + self.rest), self.longest))


@dataclass(frozen=True, slots=True)
class _Kept:
    answer: Any
    due: float
    late: float


class FreshAnswers:
    """Keeps answers by key (a workspace leads every key); many who ask at once cause one computation."""

    def __init__(self, clock: Clock, freshness: Freshness = Freshness()) -> None:
        self._clock, self._freshness = clock, freshness
        self._kept: dict[Hashable, _Kept] = {}
        self._under_way: dict[Hashable, asyncio.Task[Any]] = {}

    async def get(self, key: Hashable, compute: Callable[[], Awaitable[T]]) -> T:
        """Raises what ``compute`` raises, when there is nothing fresh enough to give instead."""
        kept, now = self._kept.get(key), self._clock.monotonic()
        if kept is not None and now < kept.due:
            return cast(T, kept.answer)
        task = self._refresh(key, compute)
        if kept is None or now >= kept.due + self._freshness.oldest:
            return cast(T, await asyncio.shield(task))
        if now >= kept.late:
            is_old = now >= kept.due + self._freshness.old
            patience = self._freshness.most_patience if is_old else self._freshness.patience
            await asyncio.wait({task}, timeout=patience)
            if task.done() and not task.cancelled() and task.exception() is None:
                return cast(T, task.result())
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
        due = began + self._freshness.lasts(took)
        self._kept[key] = _Kept(answer, due, due + max(self._freshness.late, 2 * took))
        return answer

    def _settled(self, key: Hashable, task: asyncio.Task[Any]) -> None:
        self._under_way.pop(key, None)
        if not task.cancelled():
            task.exception()  # seen: nobody may have waited for a refresh
