"""The recorder's decisions, and the whole protocol under crashes, lost replies, zombies and a forgetful store."""

import asyncio
import uuid
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_eventlog.log import Outgoing, Partition
from cdp_eventlog.memory import MemoryLog
from cdp_identity.recording.flush import CHECKPOINTS, Flush, Stores
from cdp_identity.recording.ports import WAITED_FOR, Fenced
from cdp_identity.recording.protocol import (
    Claim,
    Intent,
    Presence,
    Verdict,
    advanced,
    fresh,
    intent_for,
    token,
    verdict,
)
from cdp_runtime.backoff import Backoff
from cdp_runtime.clock import ManualClock
from cdp_runtime.patience import Patience
from cdp_schemas.codec import Codec, encode
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.profiles import ProfilesRecorded
from tests.fakes.recorder import FakeColumns, FakeLedger

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PARTITION = Partition("events-identified", 0)
NODES = [uuid.UUID(int=number) for number in range(1, 5)]


@given(st.lists(st.integers(0, 30)), st.integers(0, 10))
def test_each_received_offset_is_fresh_once(offsets, start):
    positions, following = fresh(offsets, start)
    taken = [offsets[position] for position in positions]
    assert taken == sorted(set(taken))
    assert all(offset >= start for offset in taken)
    assert fresh(offsets, following)[0] == []
    # what rises is never taken for a repeat
    rising = sorted({offset for offset in offsets if offset >= start})
    assert [rising[position] for position in fresh(rising, start)[0]] == rising


def test_a_repeated_range_is_skipped_also_when_it_overlaps():
    assert fresh([5, 6, 7, 5, 6, 7, 8], 6) == ([1, 2, 6], 9)


def test_tokens_name_range_generation_and_month():
    claim = Claim(PARTITION, epoch=7, next_offset=1000, next_received_offset=990, generation=2)
    intent = intent_for(claim, [1000, 1001, 1999])
    assert intent == Intent(PARTITION, 1000, 1999, 3, 990, 2)
    assert token("events", [intent], 202611) == "events:events-identified:0:1000-1999:g2:202611"
    assert token("event_outcomes", [intent]) == "event_outcomes:events-identified:0:1000-1999:g2"
    assert advanced(claim, 1999, 1985) == Claim(PARTITION, 7, 2000, 1985, 2)


@pytest.mark.parametrize(
    ("there", "blocks_since", "expected"),
    [
        ([], 0, Verdict.AGAIN),
        ([1, 2, 3], 4, Verdict.AGAIN),  # remembered: a view that missed it gets it now
        ([1, 2, 3], 5, Verdict.DONE),  # perhaps forgotten: it would count twice
        ([1, 3], 0, Verdict.MISSING),
        ([1, 3], 99, Verdict.MISSING),
    ],
)
def test_what_an_interrupted_block_needs(there, blocks_since, expected):
    assert verdict([1, 2, 3], Presence(frozenset(there), blocks_since), window=5) is expected


def test_what_only_the_views_have_is_lost():
    assert verdict([1, 2], Presence(frozenset(), 1 << 62, is_viewed=True), window=5) is Verdict.LOST
    assert verdict([1, 2], Presence(frozenset([1]), 0, is_viewed=True), window=5) is Verdict.MISSING


def test_a_block_whose_rows_were_all_erased_is_not_written_again():
    assert verdict([], Presence(frozenset(), 0), window=5) is Verdict.DONE


class Crash(Exception):
    """The process dies here."""


class World:
    """Partitions with the same offsets, one ledger, one store; workers come and go."""

    def __init__(self, received, window, partitions=1):
        self.log, self.ledger, self.columns = MemoryLog(partitions), FakeLedger(), FakeColumns(window)
        self.partitions = [Partition("events-identified", number) for number in range(partitions)]
        self.window = window
        self.clock = ManualClock(NOW)
        self.received = received
        self.crash_at = None

    async def fill(self):
        for offset, number in [(offset, one.number) for offset in self.received for one in self.partitions]:
            outcome = "duplicate" if offset % 5 == 4 else "stored"
            event = IdentifiedEvent(
                workspace_id="w",
                source_id="s",
                message_id=f"m{number}-{offset}",
                type="track",
                event="E",
                received_at=NOW + timedelta(days=offset),
                timestamp=NOW,
                node_id=NODES[offset % len(NODES)],
                received_partition=number,
                received_offset=offset,
                outcome=outcome,
            )
            await self.log.publish([Outgoing("events-identified", b"k", encode(event), number)])

    def worker(self):
        stores = Stores(self.ledger, self.columns, self.ledger, self.log, self.clock)
        patience = Patience("recorder", WAITED_FOR, Backoff(base=0, cap=0))
        return Flush(stores, patience, window=self.window, checkpoint=self.checkpoint)

    def checkpoint(self, name):
        assert name in CHECKPOINTS
        if self.crash_at is not None:
            self.crash_at -= 1
            if self.crash_at < 0:
                self.crash_at = None
                raise Crash(name)

    async def step(self, worker, start, count):
        """One poll of a worker; where it stands afterwards."""
        records = await self.log.read(PARTITION, start, start + count - 1)
        if records:
            await worker.record({PARTITION: records})
        return start + len(records)

    async def poll(self, worker, positions, count):
        """One poll of all partitions that the worker has; positions rise when it is done."""
        batch = {p: await self.log.read(p, start, start + count - 1) for p, start in positions.items()}
        batch = {partition: records for partition, records in batch.items() if records}
        if batch:
            await worker.record(batch)
            positions.update({p: records[-1].offset + 1 for p, records in batch.items()})
        return bool(batch)

    def check(self):
        wanted = {offset: offset % 5 == 4 for offset in set(self.received)}
        stored = sorted(offset for offset, duplicate in wanted.items() if not duplicate)
        places = [(row["received_partition"], row["received_offset"]) for row in self.columns.rows["events"]]
        assert sorted(places) == [(one.number, offset) for one in self.partitions for offset in stored]
        counted = [NODES[offset % len(NODES)] for offset in stored] * len(self.partitions)
        assert +self.columns.counters == +Counter(counted)
        assert all(self.columns.stored[one.number] == len(stored) for one in self.partitions)
        others = (len(wanted) - len(stored)) * len(self.partitions)
        assert sum(row["count"] for row in self.columns.rows["event_outcomes"]) == others
        assert self.ledger.open == {}
        told = {p for r in self.log.records("profiles-recorded") for p in _recorded(r.value).profile_ids}
        assert told == {NODES[offset % len(NODES)] for offset in stored}


def _recorded(value):
    return Codec(ProfilesRecorded).decode(value)


@st.composite
def repeated_offsets(draw):
    """Received offsets as the resolver publishes them: rising with gaps, and after its crashes a range once more."""
    rising = sorted(draw(st.sets(st.integers(0, 40), min_size=1, max_size=14)))
    sequence = []
    position = 0
    while position < len(rising):
        take = draw(st.integers(1, 5))
        sequence.extend(rising[position : position + take])
        if draw(st.booleans()):
            sequence.extend(rising[max(0, position - draw(st.integers(0, 2))) : position + take])
        position += take
    return sequence


store_faults = st.lists(st.sampled_from(["refused", "lost", "half", "behind", "ahead"]), max_size=3)
# (records of a poll, crash after so many steps, faults of the store, the dead worker comes back as a zombie)
plans = st.lists(
    st.tuples(
        st.integers(1, 6),
        st.none() | st.integers(0, 11),
        store_faults,
        st.booleans(),
    ),
    min_size=1,
    max_size=10,
)


@settings(max_examples=300)
@given(repeated_offsets(), plans, st.sampled_from([1, 2, 10_000]))
def test_every_offset_counts_once_whatever_happens(received, plan, window):
    asyncio.run(_story(received, plan, window))


async def _story(received, plan, window):
    world = World(received, window)
    await world.fill()
    worker, position, zombies = None, 0, []
    for count, crash_at, faults, outlives in plan:
        if worker is None:
            worker = world.worker()
            position = await _claim(world, worker)
        world.crash_at, world.columns.faults = crash_at, list(faults)
        try:
            position = await world.step(worker, position, count)
        except Crash:
            if outlives:
                zombies.append((worker, position))
            worker = None
        world.crash_at, world.columns.faults = None, []
        for zombie, stood in zombies:
            if worker is not None:
                await _zombie(world, zombie, stood, count)
    last = world.worker()
    position = await _claim(world, last)
    while (after := await world.step(last, position, 3)) != position:
        position = after
    world.check()


async def _claim(world, worker):
    return (await worker.claim([PARTITION], world.log))[PARTITION]


async def _zombie(world, zombie, stood, count):
    """A paused worker resumes after others took over: it writes nothing."""
    before = len(world.columns.inserts)
    try:
        await world.step(zombie, stood, count)
    except Fenced:
        pass
    assert len(world.columns.inserts) == before


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
@pytest.mark.parametrize("window", [1, 10_000])
async def test_a_crash_at_each_step_is_made_good(checkpoint, window):
    world = World(list(range(12)), window)
    await world.fill()
    worker = world.worker()
    position = await world.step(worker, await _claim(world, worker), 4)
    reached = []

    def die(name):
        reached.append(name)
        if name == checkpoint:
            raise Crash(name)

    worker._checkpoint = worker._settlement._checkpoint = die
    with pytest.raises(Crash):
        await world.step(worker, position, 4)
    assert reached[-1] == checkpoint
    heir = world.worker()
    position = await _claim(world, heir)
    while (after := await world.step(heir, position, 5)) != position:
        position = after
    world.check()


# (records of a poll from each partition, crash after so many steps, faults of the store, one worker for each partition)
shared_plans = st.lists(
    st.tuples(
        st.integers(1, 5),
        st.none() | st.integers(0, 11),
        store_faults,
        st.booleans(),
    ),
    min_size=1,
    max_size=8,
)


@settings(max_examples=300)
@given(repeated_offsets(), shared_plans, st.sampled_from([1, 2, 10_000]))
def test_partitions_that_shared_a_flush_count_once_whoever_takes_them(received, plan, window):
    asyncio.run(_shared_story(received, plan, window))


async def _shared_story(received, plan, window):
    world = World(received, window, partitions=2)
    await world.fill()
    workers, was_split, zombies = [], None, []
    for count, crash_at, faults, is_split in plan:
        if was_split is not is_split:
            for worker, positions in workers:
                worker.release(list(positions))
            workers = await _claimed(world, is_split)
            was_split = is_split
        world.crash_at, world.columns.faults = crash_at, list(faults)
        for worker, positions in list(workers):
            try:
                await world.poll(worker, positions, count)
            except Crash:
                zombies += [one for one in workers if one[0] is worker]
                workers, was_split = [one for one in workers if one[0] is not worker], None
        world.crash_at, world.columns.faults = None, []
        if zombies and was_split is None:
            workers, was_split = await _claimed(world, is_split), is_split
            await _zombies(world, zombies, count)
    for worker, positions in await _claimed(world, is_split=True):
        while await world.poll(worker, positions, 3):
            pass
    world.check()


async def _claimed(world, is_split):
    """New workers: one for all partitions, or one for each, which take over what a flush of both has left open."""
    shares = [[partition] for partition in world.partitions] if is_split else [world.partitions]
    found = []
    for share in shares:
        worker = world.worker()
        found.append((worker, dict(await worker.claim(share, world.log))))
    return found


async def _zombies(world, zombies, count):
    before = len(world.columns.inserts)
    for worker, positions in zombies:
        try:
            await world.poll(worker, dict(positions), count)
        except Fenced:
            pass
    assert len(world.columns.inserts) == before


@pytest.mark.parametrize("checkpoint", CHECKPOINTS)
@pytest.mark.parametrize("window", [1, 10_000])
async def test_two_heirs_of_a_shared_flush_each_finish_their_partition(checkpoint, window):
    world = World(list(range(8)), window, partitions=2)
    await world.fill()

    def die(name):
        if name == checkpoint:
            raise Crash(name)

    ((worker, positions),) = await _claimed(world, is_split=False)
    worker._checkpoint = worker._settlement._checkpoint = die
    with pytest.raises(Crash):
        await world.poll(worker, positions, 5)
    heir = world.worker()
    mine = dict(await heir.claim(world.partitions[:1], world.log))
    while await world.poll(heir, mine, 2):
        pass  # it is far ahead, and the tokens may be forgotten, when the other partition finds an owner
    other = world.worker()
    rest = dict(await other.claim(world.partitions[1:], world.log))
    while await world.poll(other, rest, 2):
        pass
    world.check()


async def test_the_partitions_of_a_flush_share_their_blocks():
    world = World(list(range(8)), 10_000, partitions=2)
    await world.fill()
    ((worker, positions),) = await _claimed(world, is_split=False)
    await world.poll(worker, positions, 8)
    tables = [name.split(":")[0] for name in world.columns.inserts]
    assert sorted(tables) == ["event_outcomes", "events"]
    world.check()
