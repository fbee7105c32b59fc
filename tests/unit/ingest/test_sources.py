"""Write keys are looked up rarely, served through an outage, and never refused without a real look."""

import asyncio

import pytest

from cdp_ingest.ports import LookupImpossible, Source
from cdp_ingest.sources import RememberedSources
from tests.fakes.ingest import FakeSourceTable

SOURCE = Source("demo", "s1", "Shop")


class Seconds:
    now = 0.0

    def __call__(self) -> float:
        return self.now


def remembered() -> tuple[FakeSourceTable, Seconds, RememberedSources]:
    table, seconds = FakeSourceTable({"key": SOURCE}), Seconds()
    return table, seconds, RememberedSources(table, seconds, ttl=30)


async def settled(sources: RememberedSources) -> None:
    async with asyncio.timeout(5):
        while sources._lookups:
            await asyncio.sleep(0)


async def test_a_known_key_is_looked_up_once() -> None:
    table, _, sources = remembered()
    assert [await sources.find("key") for _ in range(5)] == [SOURCE] * 5
    assert table.looks == 1


async def test_many_first_calls_share_one_look() -> None:
    table, _, sources = remembered()
    assert await asyncio.gather(*(sources.find("key") for _ in range(20))) == [SOURCE] * 20
    assert table.looks == 1


async def test_who_sends_all_the_time_waits_for_no_look() -> None:
    table, seconds, sources = remembered()
    await sources.find("key")
    table.gate = asyncio.Event()
    for seconds.now in (14, 16, 29):
        assert sources.known("key") is SOURCE
    await asyncio.sleep(0)
    assert table.looks == 2
    table.gate.set()
    await settled(sources)
    seconds.now = 50
    assert sources.known("key") is SOURCE


async def test_who_was_silent_is_judged_by_what_is_set_now() -> None:
    table, seconds, sources = remembered()
    await sources.find("key")
    table.sources.clear()
    seconds.now = 31
    assert sources.known("key") is None
    assert await sources.find("key") is None


async def test_a_table_that_hangs_is_waited_for_once_in_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp_ingest.sources._PATIENCE_SECONDS", 0.01)
    table, seconds, sources = remembered()
    await sources.find("key")
    table.gate = asyncio.Event()
    seconds.now = 3600
    assert await sources.find("key") is SOURCE
    seconds.now += 29
    assert sources.known("key") is SOURCE
    await sources.stop()


async def test_an_outage_is_not_seen_by_those_who_were_known() -> None:
    table, seconds, sources = remembered()
    await sources.find("key")
    table.down = True
    for hours in range(1, 5):
        seconds.now = hours * 3600
        assert await sources.find("key") is SOURCE
        await settled(sources)
    assert sources.fault() == "the table is away"
    table.down = False
    seconds.now += 10
    await sources.find("key")
    await settled(sources)
    assert sources.fault() is None


async def test_an_unknown_key_in_an_outage_cannot_be_told() -> None:
    table, _, sources = remembered()
    table.down = True
    with pytest.raises(LookupImpossible):
        await sources.find("other")
    table.down = False
    assert await sources.find("other") is None


async def test_an_unknown_key_is_not_looked_up_at_each_call_but_soon_again() -> None:
    table, seconds, sources = remembered()
    for _ in range(5):
        assert await sources.find("new") is None
    assert table.looks == 1
    table.sources.update(FakeSourceTable({"new": SOURCE}).sources)
    seconds.now = 6
    assert await sources.find("new") is SOURCE


async def test_a_flood_of_unknown_keys_does_not_push_out_the_known(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("cdp_ingest.sources._MOST_KEYS", 10)
    table, _, sources = remembered()
    await sources.find("key")
    for number in range(50):
        await sources.find(f"no-{number}")
    assert len(sources._entries) <= 11
    table.down = True
    assert await sources.find("key") is SOURCE


async def test_stopping_ends_a_look_that_hangs() -> None:
    table, _, sources = remembered()
    table.gate = asyncio.Event()
    waiting = asyncio.create_task(sources.find("key"))
    await asyncio.sleep(0)
    await asyncio.sleep(0)
    await sources.stop()
    with pytest.raises(asyncio.CancelledError):
        await waiting
