"""Work for one workspace after another -> all of it done, but for that of a workspace which cannot be done now.

A question that the store refuses is one workspace's: of its rules, its events, its size. It is told, and the others go
on; the work waits for another attempt, each time longer.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Final, TypeVar

import structlog

from cdp_clickhouse.errors import StoreRefused
from cdp_runtime.clock import Clock
from cdp_runtime.metrics import SEGMENTER_REFUSED
from cdp_segmenter.ports import OutOfStep

T = TypeVar("T")
_log = structlog.get_logger(__name__)
# RecursionError: rules of an earlier release, whose references were unfolded to any depth
_OF_ONE: Final = (StoreRefused, OutOfStep, RecursionError)
_FIRST_REST_SECONDS: Final = 5.0
_LONGEST_REST_SECONDS: Final = 300.0


@dataclass(frozen=True, slots=True)
class _Refusal:
    attempts: int
    until: float  # on the monotonic clock


class Apart:
    """One kind of work. ``work`` names it in the log and in the metric."""

    def __init__(self, work: str, clock: Clock) -> None:
        self._work, self._clock = work, clock
        self._refused: dict[str, _Refusal] = {}

    def resting(self) -> Collection[str]:
        """Workspaces that are not to be tried yet."""
        now = self._clock.monotonic()
        return [workspace_id for workspace_id, refusal in self._refused.items() if now < refusal.until]

    async def each(self, tasks: Mapping[str, T], do: Callable[[str, T], Awaitable[int]]) -> int:
        """Does the task of each workspace that does not rest; returns the sum. Raises what concerns them all."""
        resting, done = set(self.resting()), 0
        self._refused = {one: refusal for one, refusal in self._refused.items() if one in resting or one in tasks}
        for workspace_id, task in tasks.items():
            if workspace_id in resting:
                continue
            try:
                done += await do(workspace_id, task)
                self._refused.pop(workspace_id, None)
            except _OF_ONE as error:
                self._refuse(workspace_id, error)
        return done

    def _refuse(self, workspace_id: str, error: Exception) -> None:
        attempts = self._refused[workspace_id].attempts + 1 if workspace_id in self._refused else 1
        seconds = min(_FIRST_REST_SECONDS * 2.0 ** min(attempts - 1, 10), _LONGEST_REST_SECONDS)
        self._refused[workspace_id] = _Refusal(attempts, self._clock.monotonic() + seconds)
        SEGMENTER_REFUSED.labels(self._work).inc()
        _log.error(
            "workspace_refused", work=self._work, workspace_id=workspace_id, reason=str(error), rests_seconds=seconds
        )
