"""Segments that are new or changed -> every profile looked at, part by part, with visible progress."""

import asyncio
from collections.abc import Mapping, Sequence
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

import structlog

from cdp_runtime.clock import Clock
from cdp_segmenter.apart import Apart
from cdp_segmenter.evaluate import Evaluator
from cdp_segmenter.membership import Reason, changes
from cdp_segmenter.ports import Agenda, Crowd, Ledger
from cdp_segmenter.rules.scope import BUCKETS

_log = structlog.get_logger(__name__)
# a part holds the workspace's lock, so they bound how long live changes wait, and it holds its memberships in memory
PROFILES_PER_PART: Final = 50_000
PLACES_PER_PART: Final = 500_000  # a profile in a segment each
_EXITS_PER_STEP: Final = 5000
_RESTS: Final = 4.0  # as long as a part of a reconciliation took: it has the stores a fifth of the time


class Builder:
    """Full evaluations, and the end of deleted segments. Everything can be interrupted and begun again."""

    def __init__(self, evaluator: Evaluator, ledger: Ledger, crowd: Crowd, agenda: Agenda, clock: Clock) -> None:
        self._evaluator, self._ledger, self._crowd = evaluator, ledger, crowd
        self._agenda, self._clock = agenda, clock
        self._builds, self._ends, self._reconciliations = (
            Apart(work, clock) for work in ("build", "end", "reconciliation")
        )

    async def pending(self) -> int:
        """Builds what was asked for and empties what was deleted; returns how many segments that were."""
        deleted: dict[str, list[str]] = {}
        for workspace_id, segment_id in await self._agenda.deleted():
            deleted.setdefault(workspace_id, []).append(segment_id)
        ended = await self._ends.each(deleted, self._empty_all)
        return ended + await self._builds.each(await self._agenda.building(), self.build)

    async def build(self, workspace_id: str, builds: Mapping[str, int]) -> int:
        """All profiles through these segments together; then they are ready, unless asked for anew meanwhile.

        Returns how many segments that were.
        """
        started = self._clock.monotonic()
        segment_ids = sorted(builds)
        parts = await self._parts(workspace_id, len(segment_ids))
        for index, buckets in enumerate(parts):
            await self._evaluator.part(workspace_id, segment_ids, buckets, "definition")
            async with self._ledger.session(workspace_id) as session:
                await session.progress(segment_ids, (index + 1) / len(parts))
        await self._agenda.built(workspace_id, builds, self._clock.now())
        seconds = round(self._clock.monotonic() - started, 2)
        _log.info("segments_built", workspace_id=workspace_id, segments=segment_ids, seconds=seconds)
        return len(builds)

    async def reconcile_all(self, every: float) -> int:
        """The workspaces that were last reconciled so many seconds ago; returns how many that were."""
        before = self._clock.now() - timedelta(seconds=every)
        workspaces = (await self._agenda.workspaces()).items()
        due = {workspace_id: last for workspace_id, (_, last) in workspaces if last <= before}
        return await self._reconciliations.each(due, lambda one, last: self.reconcile(one, last, every))

    async def reconcile(self, workspace_id: str, last: datetime, within: float = 0.0) -> int:
        """All profiles through all segments: heals what a lost message would have told.

        Nobody waits for it, so it rests after each part to leave the stores to live changes, and takes about ``within``
        seconds longer for it at most. It stays due when it was called overdue meanwhile: ``last`` is how the agenda
        knew it when it began. Returns that it was one.
        """
        segment_ids = await self._all(workspace_id)
        parts = await self._parts(workspace_id, len(segment_ids))
        for buckets in parts:
            started = self._clock.monotonic()
            await self._evaluator.part(workspace_id, segment_ids, buckets, "event")
            taken = self._clock.monotonic() - started
            await asyncio.sleep(min(_RESTS * taken, within / len(parts)))
        await self._agenda.reconciled(workspace_id, last, self._clock.now())
        return 1

    async def _all(self, workspace_id: str) -> Sequence[str]:
        async with self._ledger.session(workspace_id) as session:
            return sorted((await session.definitions()).rules())

    async def _parts(self, workspace_id: str, segments: int) -> list[tuple[int, int]]:
        """The fewest equal ranges of buckets with no more profiles than a part should have; none without segments."""
        if not segments:
            return []
        most = min(PROFILES_PER_PART, max(1, PLACES_PER_PART // segments))
        wanted = -(-await self._crowd.count(workspace_id) // most)
        parts = 1
        while parts < min(wanted, BUCKETS):
            parts *= 2
        width = BUCKETS // parts
        return [(first, first + width - 1) for first in range(0, BUCKETS, width)]

    async def _empty_all(self, workspace_id: str, segment_ids: Sequence[str]) -> int:
        for segment_id in segment_ids:
            await self._empty(workspace_id, segment_id)
        return len(segment_ids)

    async def _empty(self, workspace_id: str, segment_id: str) -> None:
        """Everyone exits a deleted segment, so that whoever follows its memberships lets them go."""
        after: UUID | None = None
        while True:
            async with self._ledger.session(workspace_id) as session:
                before = await session.of_segment(segment_id, _EXITS_PER_STEP, after)
                reason = Reason(self._clock.now(), "definition")
                await session.apply(changes(before, (), {segment_id: 0}, reason, workspace_id))
            if not before:
                break
            after = next(reversed(before)).profile_id
        await self._agenda.forget(workspace_id, segment_id)
