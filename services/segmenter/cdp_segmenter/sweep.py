"""The clock -> memberships that time alone changes, at the moments that were foreseen; requests of the API answered.

An evaluation reminds of each profile that will turn within the horizon. The sweep looks that far ahead for those whom
no evaluation has looked at since, and back to where the last one ended: it is the net under the reminders.
"""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Final
from uuid import UUID

from cdp_runtime.clock import Clock
from cdp_runtime.metrics import SEGMENTER_SWEEP_SECONDS, SEGMENTER_SWEPT
from cdp_segmenter.apart import Apart
from cdp_segmenter.due import due_sql
from cdp_segmenter.evaluate import HORIZON, Evaluator, Touched
from cdp_segmenter.ports import Agenda, Crowd, Ledger

# two clocks may differ, and an evaluation may have read the time a moment before its facts
OVERLAP: Final = timedelta(seconds=5)
_REQUESTS: Final = 2000


class Sweep:
    """Finds whom the clock may have moved since the last sweep, and has them evaluated."""

    def __init__(self, evaluator: Evaluator, ledger: Ledger, crowd: Crowd, agenda: Agenda, clock: Clock) -> None:
        self._evaluator, self._ledger, self._crowd = evaluator, ledger, crowd
        self._agenda, self._clock = agenda, clock
        self._sweeps, self._moments, self._requests = (Apart(work, clock) for work in ("sweep", "moments", "requests"))

    async def all(self) -> None:
        """Every workspace with segments, from where its last sweep ended."""
        started = self._clock.monotonic()
        workspaces = {one: through for one, (through, _) in (await self._agenda.workspaces()).items()}
        await self._sweeps.each(workspaces, self.workspace)
        SEGMENTER_SWEEP_SECONDS.observe(self._clock.monotonic() - started)

    async def workspace(self, workspace_id: str, since: datetime) -> int:
        """Brings one workspace up to now and has the near future foreseen; the mark moves only after all is committed.

        Returns how many were or will be due.
        """
        async with self._ledger.session(workspace_id, locked=False) as session:
            rules = (await session.definitions()).rules()
        now = self._clock.now()
        due: set[UUID] = set()
        for question in due_sql(list(rules.values()), workspace_id, since - OVERLAP, now + HORIZON):
            due.update(await self._crowd.due(question))
        await self._evaluator.touched(Touched(workspace_id, frozenset(due), cause="clock"))
        await self._agenda.swept(workspace_id, now)
        SEGMENTER_SWEPT.inc(len(due))
        return len(due)

    async def moments(self) -> int:
        """Profiles whose moment has come, looked at again. Returns how many."""
        come = await self._agenda.moments(self._clock.now(), _REQUESTS, self._moments.resting())
        return await self._moments.each(come, self._come)

    async def requests(self) -> int:
        """Profiles that the API asked to look at again: members of manual segments that others refer to."""
        asked = await self._agenda.requested(_REQUESTS, self._requests.resting())
        return await self._requests.each(asked, self._asked)

    async def _come(self, workspace_id: str, moments: Mapping[UUID, datetime]) -> int:
        await self._evaluator.touched(Touched(workspace_id, frozenset(moments), cause="clock"))
        await self._agenda.passed(workspace_id, moments)
        return len(moments)

    async def _asked(self, workspace_id: str, requests: Mapping[UUID, datetime]) -> int:
        await self._evaluator.touched(Touched(workspace_id, frozenset(requests), cause="manual"))
        await self._agenda.answered(workspace_id, requests)
        return len(requests)
