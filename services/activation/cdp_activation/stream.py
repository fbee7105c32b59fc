"""memberships-changed and profiles-updated -> the projection and the desired state of the ledger."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import structlog

from cdp_activation.ports import Projection
from cdp_activation.projection import fact_of
from cdp_eventlog.log import Partition, RangeReader, Record
from cdp_runtime.metrics import ACTIVATION_UNREADABLE
from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.profiles import ProfileUpdated
from cdp_schemas.segments import MembershipChanged

_log = structlog.get_logger(__name__)
_memberships = Codec(MembershipChanged)
_profiles = Codec(ProfileUpdated)


class Planner:
    """Both handlers are idempotent: sequence numbers and versions make a repeated message a no-op."""

    def __init__(self, projection: Projection, wake: Callable[[], None]) -> None:
        self._projection, self._wake = projection, wake

    async def memberships(self, records: Sequence[Record]) -> None:
        """A batch of memberships-changed."""
        changes = _decoded(_memberships, records)
        if changes and await self._projection.apply_memberships(changes):
            self._wake()

    async def profiles(self, records: Sequence[Record]) -> None:
        """A batch of profiles-updated."""
        messages = _decoded(_profiles, records)
        if messages and await self._projection.apply_profiles([fact_of(message) for message in messages]):
            self._wake()


class ProfileStream:
    """The planner as a BatchHandler: profiles-updated has a message per profile and event, too many for Faust."""

    def __init__(self, planner: Planner) -> None:
        self._planner = planner

    async def assigned(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int | None]:
        return dict.fromkeys(partitions)

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        await self._planner.profiles([record for records in batch.values() for record in records])

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        return None


def _decoded(codec: Codec[Any], records: Sequence[Record]) -> list[Any]:
    """Messages of our own services; one that cannot be read is counted and left, the sweep makes up for it."""
    messages = []
    for record in records:
        if not record.value:
            continue
        try:
            messages.append(codec.decode(record.value))
        except InvalidMessage as error:
            ACTIVATION_UNREADABLE.labels(record.partition.topic).inc()
            place = f"{record.partition.topic}/{record.partition.number}@{record.offset}"
            _log.error("message_unreadable", place=place, reason=str(error))
    return messages
