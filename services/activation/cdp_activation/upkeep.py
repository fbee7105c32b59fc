"""The work beside deliveries: segments to follow, what messages missed, reports to the log, figures of the backlog."""

import asyncio
from collections.abc import Callable
from typing import Final

from cdp_activation.ports import Following, Ledger, Outbox, SweepStore
from cdp_runtime.chores import every, sparingly
from cdp_runtime.metrics import (
    ACTIVATION_BREAKER,
    ACTIVATION_OLDEST,
    ACTIVATION_OUTBOX,
    ACTIVATION_PENDING,
    ACTIVATION_RECONCILED,
)

_ROWS: Final = 5000
# reports of this process go out at once; this is for those that a process left when it died
_LEFT_SECONDS: Final = 5.0
_MEASURE_SECONDS: Final = 5.0
_LONGEST_REST_SECONDS: Final = 600.0  # of what goes through all members and ledgers


class Upkeep:
    """Three loops that an outage of a store or of the log only slows down."""

    def __init__(
        self,
        store: SweepStore,
        following: Following,
        ledger: Ledger,
        outbox: Outbox,
        *,
        wake: Callable[[], None],
        told: asyncio.Event,
    ) -> None:
        """``wake`` is called when there may be work to do; ``told`` is set when there are reports to publish."""
        self._store, self._following, self._ledger, self._outbox = store, following, ledger, outbox
        self._wake, self._told = wake, told
        self._stopping = asyncio.Event()

    async def run(self, *, poll_seconds: float, sweep_seconds: float) -> None:
        """Until ``stop``."""
        await asyncio.gather(
            every(_LEFT_SECONDS, self._report, self._stopping, sooner=self._told),
            every(poll_seconds, self._flagged, self._stopping),
            every(sweep_seconds, self._swept, self._stopping),
            every(_MEASURE_SECONDS, self._measured, self._stopping),
        )

    def stop(self) -> None:
        self._stopping.set()
        self._told.set()

    async def reconcile(self, *, flagged: bool) -> None:
        """Every connection, or those that the API changed: desired := what the segments say, once they are loaded.

        When it is every connection, what is over is forgotten, and the members of large audiences are counted.
        """
        for followed in await self._following.follow():
            await self._following.load(followed)
        for key, version in (await self._store.connections(flagged=flagged)).items():
            changed = await self._ledger.reconcile(key, stopping=self._stopping.is_set, changed=self._wake)
            while not self._stopping.is_set() and await self._ledger.recheck(key, limit=_ROWS):
                self._wake()
            if self._stopping.is_set():
                return
            if flagged:
                await self._store.unflag(key, version)
            else:
                ACTIVATION_RECONCILED.inc(changed)
            if await self._store.remind(key):
                self._wake()
        if not flagged:
            await self._forget()
            await self._store.count_members()

    async def _flagged(self) -> None:
        await self.reconcile(flagged=True)

    async def _swept(self) -> None:
        await sparingly(lambda: self.reconcile(flagged=False), self._stopping, longest=_LONGEST_REST_SECONDS)

    async def _measured(self) -> None:
        await sparingly(self._measure, self._stopping, longest=_LONGEST_REST_SECONDS)

    async def _forget(self) -> None:
        """The ledger of a deleted audience goes once its last member was removed everywhere, that of a deleted
        destination at once."""
        await self._store.forget_told()
        for key in await self._store.over():
            while not self._stopping.is_set() and await self._store.forget(key, _ROWS) == _ROWS:
                pass

    async def _report(self) -> None:
        self._told.clear()
        while await self._outbox.publish_some() and not self._stopping.is_set():
            pass

    async def _measure(self) -> None:
        ACTIVATION_OUTBOX.set(await self._outbox.size())
        for type_name, pending, oldest in await self._store.backlog():
            ACTIVATION_PENDING.labels(type_name).set(pending)
            ACTIVATION_OLDEST.labels(type_name).set(oldest)
        # as Postgres has them: the API closes breakers too, and what is disabled or deleted is not shown any more
        breakers = await self._store.breakers()
        ACTIVATION_BREAKER.clear()
        for type_name, destination_id, is_open in breakers:
            ACTIVATION_BREAKER.labels(type_name, destination_id).set(is_open)
