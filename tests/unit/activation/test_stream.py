"""The planner's batches: repeated until they are durable, said why meanwhile, and never in the way of a stop."""

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from uuid import UUID

import pytest

from cdp_activation.stream import PatientStream, Planner
from cdp_eventlog.log import Partition, Record
from cdp_runtime.backoff import Backoff
from cdp_runtime.metrics import ACTIVATION_UNREADABLE
from cdp_runtime.patience import Stopping
from cdp_schemas.codec import encode
from cdp_schemas.segments import MembershipChanged, MembershipsChanged, SegmentChange
from tests.fakes.activation import FakeProjection

ONE, OTHER = Partition("memberships-changed", 0), Partition("memberships-changed", 1)
AT_ONCE = Backoff(base=0.001, cap=0.001)


def record(partition: Partition, value: bytes, offset: int = 0) -> Record:
    return Record(partition, offset, b"demo|somebody", value, 0)


def of_another_workspace(value: bytes) -> Record:
    return Record(ONE, 0, b"others|somebody", value, 0)


def entered(number: int, *segments: str) -> bytes:
    now = datetime(2026, 11, 20, tzinfo=UTC)
    changes = [SegmentChange(segment, 1, "entered", 1) for segment in segments or ("vip",)]
    return encode(MembershipsChanged("demo", UUID(int=number), now, changes))


async def test_a_batch_that_fails_is_repeated_whole_and_the_reason_is_told_meanwhile() -> None:
    seen: list[list[bytes]] = []
    told: list[str | None] = []

    async def handle(records: Sequence[Record]) -> None:
        told.append(stream.fault())
        seen.append([one.value for one in records])
        if len(seen) < 3:
            raise ConnectionError("Postgres is away")

    stream = PatientStream(handle, AT_ONCE)
    await stream.handle({ONE: [record(ONE, b"a"), record(ONE, b"b", 1)], OTHER: [record(OTHER, b"c")]})
    assert seen == [[b"a", b"b", b"c"]] * 3
    assert told == [None, *["a batch is being repeated: Postgres is away"] * 2]
    assert stream.fault() is None


async def test_a_stop_ends_the_wait_and_leaves_the_batch_for_the_next_process() -> None:
    tried = asyncio.Event()

    async def handle(records: Sequence[Record]) -> None:
        tried.set()
        raise ConnectionError("Postgres is away")

    stream = PatientStream(handle, Backoff(base=1e6, cap=1e6))
    task = asyncio.create_task(stream.handle({ONE: [record(ONE, b"a")]}))
    await tried.wait()
    stream.stop()
    async with asyncio.timeout(5):
        with pytest.raises(Stopping, match="Postgres is away"):
            await task


async def test_the_worker_is_woken_only_when_the_ledger_changed() -> None:
    woken: list[bool] = []
    projection = FakeProjection(changed=0)
    planner = Planner(projection, lambda: woken.append(True))
    await planner.memberships([record(ONE, entered(1))])
    assert not woken
    projection.changed = 1
    await planner.memberships([record(ONE, entered(2))])
    assert woken == [True]


async def test_segments_that_no_audience_uses_are_left_and_of_workspaces_without_any_nothing_is_read() -> None:
    projection = FakeProjection()
    planner = Planner(projection, lambda: None)
    unreadable = ACTIVATION_UNREADABLE.labels(ONE.topic)
    before = unreadable._value.get()
    some = [of_another_workspace(b"{"), record(ONE, entered(1, "unused", "vip")), record(ONE, entered(2, "unused"))]
    await planner.memberships(some)
    assert [(fact.profile_id.int, fact.segment_id) for fact in projection.memberships] == [(1, "vip")]
    assert unreadable._value.get() == before


async def test_many_changes_are_written_in_parts() -> None:
    names = [f"s{number}" for number in range(1000)]
    projection = FakeProjection(followed={"demo": frozenset(names)})
    await Planner(projection, lambda: None).memberships([record(ONE, entered(n, *names), n) for n in range(9)])
    assert projection.parts == [4000, 4000, 1000]


async def test_a_message_of_the_release_before_arrives_by_its_longer_key() -> None:
    projection = FakeProjection()
    now = datetime(2026, 11, 20, tzinfo=UTC)
    message = encode(MembershipChanged("demo", "vip", 1, UUID(int=3), "exited", 2, now))
    await Planner(projection, lambda: None).memberships([Record(ONE, 0, b"demo|vip|somebody", message, 0)])
    assert [(fact.profile_id.int, fact.change) for fact in projection.memberships] == [(3, "exited")]


async def test_what_is_no_message_is_left_and_its_neighbours_arrive() -> None:
    projection = FakeProjection()
    planner = Planner(projection, lambda: None)
    await planner.memberships([record(ONE, entered(1)), record(ONE, b"{"), record(ONE, b""), record(ONE, entered(2))])
    assert [fact.profile_id.int for fact in projection.memberships] == [1, 2]
