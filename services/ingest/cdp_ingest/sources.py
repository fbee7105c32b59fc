"""Write keys -> sources, remembered for a while: for longer in an outage, and never refused without a real look."""

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Final

from cdp_ingest.ports import LookupImpossible, Source, SourceTable
from cdp_runtime.auth import hash_token

_UNKNOWN_SECONDS: Final = 5.0
_PATIENCE_SECONDS: Final = 1.0
_MOST_KEYS: Final = 10_000
_LONGEST_KEY: Final = 256


@dataclass(slots=True)
class _Entry:
    source: Source | None
    until: float


class RememberedSources:
    """A cache in front of the table of sources; ``monotonic`` gives seconds.

    A known source is served at once for ``ttl`` seconds; from half of them on it is looked up beside, so that who sends
    all the time waits for no look. After that it is looked up first: whoever was silent is not judged by what was once
    set. A table that does not answer is waited for a second, now and then. A key that was unknown is looked up again
    after a few seconds, and only once at a time.
    """

    def __init__(self, table: SourceTable, monotonic: Callable[[], float], ttl: float = 30.0) -> None:
        self._table, self._monotonic, self._ttl = table, monotonic, ttl
        self._entries: dict[str, _Entry] = {}
        self._lookups: dict[str, asyncio.Task[Source | None]] = {}
        self._fault: str | None = None

    def known(self, write_key: str) -> Source | None:
        """A source that was found not long ago."""
        entry, now = self._entries.get(write_key), self._monotonic()
        if entry is None or entry.source is None or now >= entry.until:
            return None
        if now >= entry.until - self._ttl / 2:
            self._look(write_key)
        return entry.source

    def was_known(self, write_key: str) -> bool:
        """Whether it was ever found: to ask for it is no guess."""
        entry = self._entries.get(write_key)
        return entry is not None and entry.source is not None

    async def find(self, write_key: str) -> Source | None:
        """None only after an authoritative look. Raises LookupImpossible."""
        entry = self._entries.get(write_key)
        if entry is not None and entry.source is None and self._monotonic() < entry.until:
            return None
        if source := self.known(write_key):
            return source
        if len(write_key) > _LONGEST_KEY:
            return None
        looking = asyncio.shield(self._look(write_key))
        if entry is None or entry.source is None:
            return await looking
        try:
            return await asyncio.wait_for(looking, _PATIENCE_SECONDS)
        except TimeoutError:
            entry.until = self._monotonic() + max(self._ttl, _UNKNOWN_SECONDS)
        except LookupImpossible:
            pass  # at once: the next look is soon
        return entry.source

    def fault(self) -> str | None:
        """Why the last look into the table failed; None when it did not."""
        return self._fault

    async def stop(self) -> None:
        """Ends the lookups that still run."""
        for task in list(self._lookups.values()):
            task.cancel()
        await asyncio.gather(*self._lookups.values(), return_exceptions=True)

    def _look(self, key: str) -> asyncio.Task[Source | None]:
        task = self._lookups.get(key)
        if task is None:
            task = self._lookups[key] = asyncio.create_task(self._lookup(key))
            task.add_done_callback(lambda done: self._looked(key, done))
        return task

    def _looked(self, key: str, task: asyncio.Task[Source | None]) -> None:
        self._lookups.pop(key, None)
        if not task.cancelled():
            task.exception()  # a refresh beside a served entry has nobody else to read it

    async def _lookup(self, key: str) -> Source | None:
        try:
            source = await self._table.source(hash_token(key))
        except LookupImpossible as error:
            self._fault = str(error)
            if entry := self._entries.get(key):
                entry.until = max(entry.until, self._monotonic() + _UNKNOWN_SECONDS)
            raise
        self._fault = None
        if len(self._entries) >= _MOST_KEYS:
            self._entries = {known: entry for known, entry in self._entries.items() if entry.source is not None}
        lifetime = self._ttl if source is not None else _UNKNOWN_SECONDS
        self._entries[key] = _Entry(source, self._monotonic() + lifetime)
        return source
