"""Items with keys -> batches, one at a time of each key: what comes meanwhile gathers for that key's next one."""

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Hashable
from typing import Generic, TypeVar

K = TypeVar("K", bound=Hashable)
T = TypeVar("T")


class Lanes(Generic[K, T]):
    """Keys do not wait for one another. A lane is there for as long as it has items."""

    def __init__(self, handle: Callable[[K, list[T]], Awaitable[None]], running: asyncio.TaskGroup, most: int) -> None:
        """At most ``most`` items are a batch."""
        self._handle, self._running, self._most = handle, running, most
        self._waiting: dict[K, deque[T]] = {}

    def put(self, key: K, item: T) -> None:
        if key not in self._waiting:
            self._waiting[key] = deque()
            self._running.create_task(self._run(key))
        self._waiting[key].append(item)

    async def _run(self, key: K) -> None:
        waiting = self._waiting[key]
        while waiting:
            await self._handle(key, [waiting.popleft() for _ in range(min(len(waiting), self._most))])
        del self._waiting[key]
