"""memberships-changed and profiles-updated -> the projection and the desired state of the ledger."""

from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, TypeVar

import structlog

from cdp_activation.ports import Projection
from cdp_activation.projection import ProfileFact
from cdp_eventlog.log import Partition, RangeReader, Record
from cdp_runtime.backoff import Backoff
from cdp_runtime.metrics import ACTIVATION_UNREADABLE
from cdp_runtime.parts import in_parts
from cdp_runtime.patience import Patience
from cdp_schemas.codec import Codec, InvalidMessage
from cdp_schemas.segments import read_memberships

_log = structlog.get_logger(__name__)
_profiles: Final = Codec(ProfileFact)
_BACKOFF: Final = Backoff(base=0.2, cap=5.0)
_CHANGES_AT_ONCE: Final = 4000  # a message of one profile may tell of a thousand
Handle = Callable[[Sequence[Record]], Awaitable[None]]
M = TypeVar("M")


class Planner:
    """Both handlers are idempotent: sequence numbers and versions make a repeated message a no-op."""

    def __init__(self, projection: Projection, wake: Callable[[], None]) -> None:
        self._projection, self._wake = projection, wake

    async def memberships(self, records: Sequence[Record]) -> None:
        """A batch of memberships-changed; of workspaces without audiences not even the messages are read."""
        # asked after the batch was read, for each anew: what is skipped was told, so committed, before the answer
        followed = await self._projection.followed()
        messages = _decoded(read_memberships, [one for one in records if _workspace(one) in followed])
        changes = [one for message in messages for one in message.each(followed.get(message.workspace_id, ()))]
        for some in in_parts(changes, _CHANGES_AT_ONCE):
            if await self._projection.apply_memberships(some):
                self._wake()

    async def profiles(self, records: Sequence[Record]) -> None:
        """A batch of profiles-updated."""
        facts = _decoded(_profiles.decode, records)
        if facts and await self._projection.apply_profiles(facts):
            self._wake()


class PatientStream:
    """One of the planner's handlers as a BatchHandler: a batch is repeated until its effects are durable.

    An outage pauses the topic and never skips; nothing that a batch contains ends the deliveries of this process.
    """

    def __init__(self, handle: Handle, backoff: Backoff = _BACKOFF) -> None:
        self._handle = handle
        self._patience = Patience("planner", {Exception: "batch"}, backoff)

    def stop(self) -> None:
        """Gives up waiting for what is down."""
        self._patience.stop()

    def fault(self) -> str | None:
        """Why a batch is being repeated; None when none is."""
        reason = self._patience.reasons.get("batch")
        return f"a batch is being repeated: {reason}" if reason is not None else None

    async def assigned(self, partitions: Sequence[Partition], reader: RangeReader) -> Mapping[Partition, int | None]:
        """Where the group was: a hint that may be late, for what is applied again changes nothing."""
        return dict.fromkeys(partitions)

    async def handle(self, batch: Mapping[Partition, Sequence[Record]]) -> None:
        """All partitions in one go. Raises Stopping."""
        records = [record for records in batch.values() for record in records]
        await self._patience.until_done(lambda: self._handle(records))

    async def revoked(self, partitions: Sequence[Partition]) -> None:
        return None


def _workspace(record: Record) -> str:
    """Both versions of the key begin with it."""
    return (record.key or b"").partition(b"|")[0].decode(errors="replace")


def _decoded(decode: Callable[[bytes], M], records: Sequence[Record]) -> list[M]:
    """Messages of our own services; one that cannot be read is counted and left, later looks make up for it."""
    messages = []
    for record in records:
        if not record.value:
            continue
        try:
            messages.append(decode(record.value))
        except InvalidMessage as error:
            ACTIVATION_UNREADABLE.labels(record.partition.topic).inc()
            place = f"{record.partition.topic}/{record.partition.number}@{record.offset}"
            _log.error("message_unreadable", place=place, reason=str(error))
    return messages
