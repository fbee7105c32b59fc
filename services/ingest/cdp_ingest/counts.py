"""Accepted events, call by call -> rows per source and minute, each with this run's total so far."""

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Final

from cdp_ingest.ports import AcceptedRow

_MINUTE: Final = timedelta(minutes=1)
_Key = tuple[str, str, datetime]


class AcceptedCounts:
    """Totals of one run of one worker. Rows are set, not added, in the table: writing one twice changes nothing."""

    def __init__(self, run_id: str) -> None:
        self._run_id = run_id
        self._totals: dict[_Key, int] = {}
        self._changed: set[_Key] = set()
        self._minute = datetime.min.replace(tzinfo=UTC)

    def add(self, workspace_id: str, source_id: str, received_at: datetime, events: int) -> None:
        """Counts the acknowledged events of one call in the minute of their arrival."""
        if not self._minute <= received_at < self._minute + _MINUTE:
            self._minute = received_at.replace(second=0, microsecond=0)
        key = (workspace_id, source_id, self._minute)
        self._totals[key] = self._totals.get(key, 0) + events
        self._changed.add(key)

    def changed(self) -> list[AcceptedRow]:
        """The rows to be written now; they stay changed until :meth:`written`."""
        return [AcceptedRow(*key, self._run_id, self._totals[key]) for key in sorted(self._changed)]

    def written(self, rows: Sequence[AcceptedRow], now: datetime) -> None:
        """Forgets what was written, unless it grew meanwhile; minutes that can grow no more leave the memory."""
        for row in rows:
            key = row[:3]
            if self._totals.get(key) == row.total:
                self._changed.discard(key)
        for key in [key for key in self._totals if key not in self._changed and (now - key[2]).total_seconds() > 600]:
            del self._totals[key]
