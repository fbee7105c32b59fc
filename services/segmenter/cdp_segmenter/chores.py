"""The work beside the stream: telling changes, building segments, sweeping the clock, healing."""

import asyncio
from dataclasses import dataclass
from typing import Any, Protocol

from cdp_runtime.chores import every, sparingly
from cdp_runtime.metrics import SEGMENTER_BUILDING, SEGMENTER_OUTBOX
from cdp_segmenter.build import Builder
from cdp_segmenter.ports import Agenda
from cdp_segmenter.sweep import Sweep

_MEASURE_SECONDS = 5.0
_PATIENCE_SECONDS = 10.0
_LONGEST_REST_SECONDS = 10.0


class Outbox(Protocol):
    """Changes that are committed and not yet told."""

    async def publish_some(self) -> int: ...

    async def size(self) -> int: ...


class Leader(Protocol):
    """Whether this process does what one process should do."""

    async def leads(self) -> bool: ...


@dataclass(frozen=True, slots=True)
class Pace:
    """Pauses in seconds."""

    poll: float = 0.25
    sweep: float = 10.0
    reconcile: float = 3600.0


class Chores:
    """Loops that an outage of a store or of the log only slows down. Every process tells; the leader does the rest."""

    def __init__(
        self, outbox: Outbox, leader: Leader, builder: Builder, sweep: Sweep, agenda: Agenda, pace: Pace
    ) -> None:
        self._outbox, self._leader, self._builder, self._sweep = outbox, leader, builder, sweep
        self._agenda, self._pace = agenda, pace
        self._stopping = asyncio.Event()
        self._told = asyncio.Event()
        self._built = asyncio.Event()
        self._running: asyncio.Future[Any] | None = None
        self._leads = False

    def wake(self) -> None:
        """There are changes to tell."""
        self._told.set()

    async def stop(self) -> None:
        """Returns when the loops have ended, or soon: whatever is cut off is done again by the next process."""
        self._stopping.set()
        self._told.set()
        self._built.set()
        if self._running is not None:
            await asyncio.wait([self._running], timeout=_PATIENCE_SECONDS)

    async def run(self) -> None:
        """Until ``stop``. Raises what no waiting would cure."""
        running = self._running = asyncio.gather(
            every(self._pace.poll, self._tell, self._stopping, sooner=self._told),
            every(self._pace.poll, self._build, self._stopping),
            every(self._pace.poll, self._requests, self._stopping),
            every(self._pace.poll, self._moments, self._stopping),
            every(self._pace.sweep, self._swept, self._stopping, sooner=self._built),
            every(max(self._pace.reconcile / 60, self._pace.poll), self._reconcile, self._stopping),
            every(_MEASURE_SECONDS, self._measure, self._stopping),
        )
        await running

    async def _tell(self) -> None:
        self._told.clear()
        while await self._outbox.publish_some() and not self._stopping.is_set():
            pass

    async def _build(self) -> None:
        self._leads = await self._leader.leads()
        if self._leads and await self._builder.pending():
            self.wake()
            self._built.set()  # nobody has foreseen yet when time will change the new ones

    async def _requests(self) -> None:
        if self._leads and await self._sweep.requests():
            self.wake()

    async def _moments(self) -> None:
        if self._leads and await self._sweep.moments():
            self.wake()

    async def _swept(self) -> None:
        self._built.clear()
        if self._leads:
            # it reads every event in a window's reach; the longest rest ends before the horizon that it foresees
            await sparingly(self._everyone, self._built, longest=_LONGEST_REST_SECONDS)

    async def _everyone(self) -> None:
        await self._sweep.all()
        self.wake()

    async def _reconcile(self) -> None:
        if self._leads and await self._builder.reconcile_all(self._pace.reconcile):
            self.wake()

    async def _measure(self) -> None:
        SEGMENTER_OUTBOX.set(await self._outbox.size())
        SEGMENTER_BUILDING.set(sum(map(len, (await self._agenda.building()).values())))
