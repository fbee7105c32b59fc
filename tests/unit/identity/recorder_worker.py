"""What a worker was asked to do and told since -> what it does next, by running production's Flush over its replies.

A Flush decides by nothing but its claims and the replies that it gets. So these are the worker's whole state, and to
find its next call a new Flush is given the same replies once more. What was found is remembered.
"""

import asyncio
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final, NamedTuple
from uuid import UUID

from cdp_eventlog.log import Outgoing, Partition
from cdp_eventlog.memory import MemoryLog
from cdp_identity.recording.blocks import REWRITTEN, Block
from cdp_identity.recording.flush import Flush, Stores
from cdp_identity.recording.ports import WAITED_FOR, Fenced
from cdp_identity.recording.protocol import Claim, Place, Presence
from cdp_runtime.backoff import Backoff
from cdp_runtime.clock import ManualClock
from cdp_runtime.patience import Patience
from cdp_schemas.codec import Codec, encode
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.profiles import ProfilesRecorded
from cdp_schemas.topics import EVENTS_IDENTIFIED

NOW: Final = datetime(2026, 11, 20, 12, tzinfo=UTC)
LONG: Final = timedelta(hours=1)  # for longer than any lease
_TOLD: Final = Codec(ProfilesRecorded)


class Call(NamedTuple):
    """One effect or question: claim, intend, look, insert, repair, publish or close."""

    name: str
    about: Any


class Written(NamedTuple):
    """What is inserted: a token and places; ``is_rewritten``: the views are to pass over it."""

    token: str
    places: frozenset[Place]
    is_rewritten: bool


class Reply(NamedTuple):
    """What came back, or how it failed. ``stood_still``: after it the process did not run for a long time."""

    value: Any = None
    error: tuple[Any, ...] = ()
    stood_still: bool = False


class Task(NamedTuple):
    """Partitions to take over, or else how far to read of which."""

    takes: tuple[Partition, ...] = ()
    reads: tuple[tuple[Partition, int, int], ...] = ()


@dataclass(eq=False, slots=True)
class Worker:
    """``call`` is what it waits for, None when it is idle; ``claims`` are what it believes to own."""

    number: int
    claims: frozenset[Claim]
    call: Call | None = None
    task: Task | None = None
    began_with: frozenset[Claim] = frozenset()
    replies: tuple[Reply, ...] = ()
    told_of: str = ""  # which call it had the last reply to


class _Asks(BaseException):
    """Nothing of production's code takes it for a failure that it could wait out."""

    def __init__(self, call: Call) -> None:
        self.call = call


class Outside:
    """Every port of a flush: gives the replies there are, and stops the worker at the first call without one."""

    def __init__(self, replies: Iterable[Reply], clock: ManualClock) -> None:
        self._replies, self._clock = deque(replies), clock
        self.answered = ""

    async def ask(self, name: str, about: Any) -> Any:
        if not self._replies:
            raise _Asks(Call(name, about))
        reply = self._replies.popleft()
        self.answered = name
        if reply.stood_still:
            self._clock.advance(LONG)
        if reply.error:
            kind, *arguments = reply.error
            raise kind(*arguments)
        return reply.value

    async def claim(self, partitions: Sequence[Partition]) -> Any:
        return await self.ask("claim", tuple(partitions))

    async def intend(self, claims: Sequence[Claim], intents: Sequence[Any]) -> None:
        await self.ask("intend", (tuple(claims), tuple(intents)))

    async def close(self, claims: Sequence[Claim]) -> None:
        await self.ask("close", tuple(claims))

    async def insert(self, block: Block) -> None:
        await self.ask("insert", Written(str(block.token), frozenset(block.received), REWRITTEN in block.names))

    async def presence(self, block: Block) -> Presence:
        found: Presence = await self.ask("look", frozenset(block.received))
        return found

    async def repair(self, block: Block) -> None:
        await self.ask("repair", frozenset(block.received))

    async def publish(self, messages: Sequence[Outgoing]) -> None:
        told = [_TOLD.decode(message.value).profile_ids for message in messages]
        await self.ask("publish", frozenset(_place_of(node) for nodes in told for node in nodes))

    async def owners(self, workspace_id: str, nodes: Sequence[UUID]) -> Mapping[UUID, UUID]:
        return {}

    async def erasures(self, after: int, since: datetime) -> list[Any]:
        return []


class Workers:
    """All workers there can be over a log: ``received`` offsets of events-received for each partition."""

    def __init__(self, received: Sequence[Sequence[int]], window: int) -> None:
        self.partitions = [Partition(EVENTS_IDENTIFIED, number) for number in range(len(received))]
        self._loop = asyncio.new_event_loop()
        self._log = MemoryLog(len(received))
        self._window = window
        self._known: dict[Any, Worker] = {}
        events = [_event(number, offset) for number, offsets in enumerate(received) for offset in offsets]
        self._loop.run_until_complete(self._log.publish(events))
        self.off = self._idle(frozenset())

    def close(self) -> None:
        self._loop.close()

    def begins(self, worker: Worker, task: Task) -> Worker:
        return self._worker(worker.claims, task, ())

    def told(self, worker: Worker, reply: Reply) -> Worker:
        assert worker.task is not None, "an idle worker waits for no reply"
        after = self._worker(worker.began_with, worker.task, (*worker.replies, reply))
        # a call that failed and is simply made again leaves nothing behind
        return worker if reply.error and after.call == worker.call else after

    def stood_still(self, worker: Worker) -> Worker:
        """The same, but that it did not run for a long time after the last reply."""
        assert worker.task is not None, "an idle worker has asked nothing"
        *earlier, last = worker.replies
        return self._worker(worker.began_with, worker.task, (*earlier, last._replace(stood_still=True)))

    def _worker(self, claims: frozenset[Claim], task: Task, replies: tuple[Reply, ...]) -> Worker:
        return self._remembered(
            (claims, task, replies), lambda: self._loop.run_until_complete(self._run(claims, task, replies))
        )

    def _idle(self, claims: frozenset[Claim]) -> Worker:
        return self._remembered(claims, lambda: Worker(len(self._known), claims))

    def _remembered(self, key: Any, find: Callable[[], Worker]) -> Worker:
        if key not in self._known:
            self._known[key] = find()
        return self._known[key]

    async def _run(self, claims: frozenset[Claim], task: Task, replies: tuple[Reply, ...]) -> Worker:
        clock = ManualClock(NOW)
        clock.advance(LONG)
        outside = Outside(replies, clock)
        patience = Patience("recorder", WAITED_FOR, Backoff(base=0, cap=0))
        flush = Flush(Stores(outside, outside, outside, outside, clock), patience, window=self._window)  # type: ignore[arg-type]
        flush._claims = {claim.partition: claim for claim in claims}
        if claims:  # it has been at work until now
            flush._intended_at = clock.monotonic()
        try:
            await self._do(flush, task)
        except _Asks as asks:
            believed = frozenset(flush._claims.values())
            return Worker(len(self._known), believed, asks.call, task, claims, replies, outside.answered)
        except Fenced:
            return self.off  # its membership in the group is over, and with it all that it had
        return self._idle(frozenset(flush._claims.values()))

    async def _do(self, flush: Flush, task: Task) -> None:
        if task.takes:
            await flush.claim(task.takes, self._log)
        else:
            await flush.record({one: await self._log.read(one, first, last) for one, first, last in task.reads})


def _event(partition: int, offset: int) -> Outgoing:
    event = IdentifiedEvent("demo", "web", f"{partition}-{offset}", "track", NOW, NOW, event="Seen",
                            node_id=UUID(int=partition << 32 | offset + 1),
                            received_partition=partition, received_offset=offset)  # fmt: skip
    return Outgoing(EVENTS_IDENTIFIED, b"", encode(event), partition)


def _place_of(node: UUID) -> Place:
    return node.int >> 32, (node.int & 0xFFFFFFFF) - 1
