"""profiles-recorded -> the profiles of each workspace evaluated together, paced by what that takes.

The shell hands over the messages of one workspace at a time and does not let workspaces wait for one another.
"""

import asyncio
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace
from typing import Final

import structlog

from cdp_clickhouse.errors import StoreRefused
from cdp_eventlog.log import Record
from cdp_runtime.clock import Clock
from cdp_runtime.gathering import Gathering
from cdp_runtime.metrics import SEGMENTER_REFUSED, SEGMENTER_UNREADABLE
from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.profiles import ProfilesRecorded
from cdp_segmenter.evaluate import IDS_PER_QUERY, Evaluator, Touched
from cdp_segmenter.ports import Agenda

_log = structlog.get_logger(__name__)
_codec = Codec(ProfilesRecorded)
_GATHERING: Final = Gathering(full=IDS_PER_QUERY, longest=0.5)
_ABREAST: Final = 2  # evaluations at once: one computes while another waits for its stores


class RecordedStream:
    """The handler that the Faust shell calls, for several workspaces at once; a repeated batch changes nothing."""

    def __init__(self, evaluator: Evaluator, agenda: Agenda, wake: Callable[[], None], clock: Clock) -> None:
        self._evaluator, self._agenda, self._wake, self._clock = evaluator, agenda, wake, clock
        self._abreast = asyncio.Semaphore(_ABREAST)

    async def handle(self, records: Sequence[Record]) -> None:
        """Returns when every change is committed to Postgres. Raises what the stores raise: the batch is repeated."""
        async with self._abreast:
            started = self._clock.monotonic()
            evaluated = together(_decoded(records))
            for touched in evaluated:
                if await self._looked_at(touched):
                    self._wake()
            seconds = self._clock.monotonic() - started
        # a question about a hundred rules costs the store the same for one profile as for a thousand
        await asyncio.sleep(_GATHERING.wait(sum(len(one.profiles) for one in evaluated), seconds))

    async def _looked_at(self, touched: Touched) -> int:
        """Returns how many memberships changed.

        What the store refuses about a workspace is left to its reconciliation, as soon as that succeeds: to repeat the
        batch would hold up all that is behind it in the log, of other workspaces too.
        """
        try:
            return await self._evaluator.touched(touched)
        except (StoreRefused, RecursionError) as error:
            SEGMENTER_REFUSED.labels("changes").inc()
            _log.error("workspace_refused", work="changes", workspace_id=touched.workspace_id, reason=str(error))
            await self._agenda.overdue(touched.workspace_id)
            return await self._evaluator.touched(replace(touched, profiles=frozenset()), looks=False)


def together(messages: Iterable[ProfilesRecorded]) -> list[Touched]:
    """One evaluation per workspace; whoever went in the end is gone, whoever came back is not."""
    found: dict[str, Touched] = {}
    for message in messages:
        known = found.get(message.workspace_id, Touched(message.workspace_id, frozenset()))
        present, gone = frozenset(message.profile_ids), frozenset(message.gone)
        merged = {one: into for one, into in known.merged_into.items() if one not in present | gone}
        times = [at for at in (known.received_at, message.received_at) if at is not None]
        found[message.workspace_id] = Touched(
            message.workspace_id,
            (known.profiles - gone) | present - gone,
            (known.gone - present) | gone,
            received_at=min(times, default=None),
            merged_into=merged | message.merged_into,
        )
    return list(found.values())


def _decoded(records: Sequence[Record]) -> list[ProfilesRecorded]:
    """One that cannot be read is counted and left: the reconciliation makes up for it."""
    messages = []
    for record in records:
        try:
            messages.append(_codec.decode(record.value))
        except InvalidMessage as error:
            SEGMENTER_UNREADABLE.inc()
            place = f"{record.partition.topic}/{record.partition.number}@{record.offset}"
            _log.error("message_unreadable", place=place, reason=str(error))
    return messages
