"""However the messages about an erased person are cut into flushes, nothing older than the erasure stays."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

from hypothesis import example, given, settings
from hypothesis import strategies as st

from cdp_eventlog.log import Outgoing, Partition
from cdp_eventlog.memory import MemoryLog
from cdp_identity.recording.flush import Flush, Stores
from cdp_identity.recording.ports import WAITED_FOR
from cdp_runtime.clock import ManualClock
from cdp_runtime.patience import Patience
from cdp_schemas.codec import encode
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.profiles import NodeMoved, ProfileUpdated
from cdp_schemas.topics import EVENTS_IDENTIFIED, PROFILES_MERGED, PROFILES_UPDATED
from tests.fakes.recorder import FakeColumns, FakeLedger

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ERASED_AT = NOW + timedelta(seconds=2)
ADA, TAB = uuid.UUID(int=1), uuid.UUID(int=2)  # her account, and the browser in which she was a guest before


def event(offset, node, seconds):
    at = NOW + timedelta(seconds=seconds)
    return IdentifiedEvent("w", "web", f"m{offset}", "track", at, at, event="Seen", node_id=node,
                           received_partition=0, received_offset=offset)  # fmt: skip


def golden(profile, version, **fields):
    return ProfileUpdated("w", profile, version, NOW, **fields)


# a guest signs in, is erased, and the tab that is still open sends its next event
STORY = {
    EVENTS_IDENTIFIED: [event(0, TAB, 0), event(1, ADA, 1), event(2, ADA, 3)],
    PROFILES_UPDATED: [
        golden(TAB, 3, traits={"email": "guest"}),
        golden(TAB, 4, deleted=True, merged_into=ADA),
        golden(ADA, 5, traits={"email": "ada"}),
        golden(ADA, 6, deleted=True),
        golden(ADA, 9, traits={"plan": "new"}),
    ],
    PROFILES_MERGED: [
        NodeMoved("w", TAB, TAB, ADA, 5, NOW),
        NodeMoved("w", ADA, ADA, ADA, 7, ERASED_AT, "erased"),
        NodeMoved("w", TAB, ADA, TAB, 8, ERASED_AT, "erased"),
        NodeMoved("w", TAB, TAB, ADA, 9, ERASED_AT),
    ],
}
# how many records of each topic are recorded next
cuts = st.lists(st.tuples(*(st.integers(0, len(told)) for told in STORY.values())), max_size=8)


@settings(max_examples=200)
@given(cuts, st.booleans())
@example([(0, 0, 4), (0, 1, 0)], False)  # golden records lag behind the erasure
def test_nothing_of_an_erased_person_stays_and_what_came_later_does(cut, together):
    columns = asyncio.run(_recorded([*cut, (9, 9, 9)], together))
    assert [row["message_id"] for row in columns.rows["events"]] == ["m2"]
    assert +columns.counters == {ADA: 1}
    told = {(row["profile_id"], row["version"], row["traits"]) for row in columns.rows["profiles"]}
    assert {row for row in told if row[2] != "{}"} == {(ADA, 9, '{"plan":"new"}')}


async def _recorded(cut, together):
    """The store after one worker for all topics, or one for each, has recorded the story in these portions."""
    log, ledger, columns = MemoryLog(1), FakeLedger(), FakeColumns()
    for topic, told in STORY.items():
        await log.publish([Outgoing(topic, b"k", encode(one), 0) for one in told])
    stores = Stores(ledger, columns, ledger, log, ManualClock(NOW + timedelta(seconds=10)))
    topics = list(STORY)
    shares = [topics] if together else [[topic] for topic in topics]
    workers = [(Flush(stores, Patience("recorder", WAITED_FOR)), share) for share in shares]
    for worker, share in workers:
        await worker.claim([Partition(topic, 0) for topic in share], log)
    read = dict.fromkeys(topics, 0)
    for counts in cut:
        for worker, share in workers:
            batch = {}
            for topic in share:
                first = read[topic]
                records = await log.read(Partition(topic, 0), first, first + counts[topics.index(topic)] - 1)
                read[topic] += len(records)
                if records:
                    batch[Partition(topic, 0)] = records
            await worker.record(batch)
    return columns
