"""What a topic does not take is told in short, and what was committed with it is told whole and in order."""

import uuid
from datetime import UTC, datetime

import pytest

from cdp_eventlog.log import LogUnavailable, MessageTooLarge, Outgoing
from cdp_eventlog.memory import MemoryLog
from cdp_identity.stream import WAITED_FOR
from cdp_identity.telling import Telling
from cdp_runtime.backoff import Backoff
from cdp_runtime.metrics import RESOLVER_TOO_LARGE
from cdp_runtime.patience import Patience
from cdp_schemas.codec import Codec, encode
from cdp_schemas.events import IdentifiedEvent, RefusedEvent
from cdp_schemas.profiles import NodeMoved, ProfileUpdated
from cdp_schemas.topics import EVENTS_IDENTIFIED, EVENTS_RECEIVED_DLQ, PROFILES_MERGED, PROFILES_UPDATED

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
MOST = 32 * 1024


class SmallLog(MemoryLog):
    """Takes messages of 32 KiB at most, and is down now and then."""

    def __init__(self, outages=0):
        super().__init__(1)
        self.outages = outages

    async def publish(self, messages):
        if self.outages:
            self.outages -= 1
            raise LogUnavailable("down")
        if any(len(message.value) > MOST for message in messages):
            raise MessageTooLarge("too large")
        await super().publish(messages)

    def values(self, topic, message_class):
        return [Codec(message_class).decode(record.value) for record in self.records(topic)]


def telling(log):
    return Telling(log, Patience("resolver", WAITED_FOR, Backoff(base=0, cap=0)))


def golden(number, **fields):
    return Outgoing(PROFILES_UPDATED, b"k", encode(ProfileUpdated("w", uuid.UUID(int=number), 7, NOW, **fields)))


@pytest.mark.parametrize("outages", [0, 3])
async def test_a_golden_record_that_is_too_large_keeps_its_refusals_and_stops_nobody(outages):
    many = {f"purpose {number:05} {'x' * 80}": number > 2 for number in range(3000)}
    large = golden(5, traits={"plan": "pro"}, consent=many)
    log = SmallLog(outages)
    before = RESOLVER_TOO_LARGE.labels(PROFILES_UPDATED)._value.get()
    await telling(log).publish([*(golden(n) for n in range(5)), large, *(golden(n) for n in range(6, 9))])
    told = log.values(PROFILES_UPDATED, ProfileUpdated)
    assert [record.profile_id.int for record in told] == list(range(9))
    assert (told[5].version, told[5].traits) == (7, {"plan": "pro"})
    assert [granted for granted in told[5].consent.values() if not granted] == [False] * 3
    assert RESOLVER_TOO_LARGE.labels(PROFILES_UPDATED)._value.get() == before + 1


async def test_events_that_are_too_large_keep_their_place_and_outcome():
    event = {"workspace_id": "w", "source_id": "s", "message_id": "m", "type": "track", "event": "E"}
    at = {"received_at": NOW, "timestamp": NOW, "node_id": uuid.UUID(int=1), "received_partition": 0}
    large = encode({"text": "x" * MOST})
    told = IdentifiedEvent(**event, **at, received_offset=9, outcome="duplicate")
    whole = encode(told).replace(b'"properties":{}', b'"properties":' + large)
    refused = RefusedEvent("w", "s", "identity", "no_identifier", "why", NOW, large, received_offset=9)
    log = SmallLog()
    messages = [Outgoing(EVENTS_RECEIVED_DLQ, b"k", encode(refused)), Outgoing(EVENTS_IDENTIFIED, b"k", whole, 0)]
    await telling(log).publish(messages)
    assert log.values(EVENTS_IDENTIFIED, IdentifiedEvent) == [told]
    (letter,) = log.values(EVENTS_RECEIVED_DLQ, RefusedEvent)
    assert (letter.reason, letter.received_offset, letter.raw) == ("no_identifier", 9, b"")


async def test_what_cannot_be_shortened_is_left_out_and_the_rest_is_told():
    crowd = golden(1, identifiers={"anonymous_id": ["x" * MOST]})
    move = NodeMoved("w", uuid.UUID(int=1), uuid.UUID(int=1), uuid.UUID(int=2), 3, NOW)
    log = SmallLog()
    await telling(log).publish([crowd, Outgoing(PROFILES_MERGED, b"k", encode(move)), golden(2)])
    assert [record.profile_id.int for record in log.values(PROFILES_UPDATED, ProfileUpdated)] == [2]
    assert log.values(PROFILES_MERGED, NodeMoved) == [move]
