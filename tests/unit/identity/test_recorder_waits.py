"""Outages are waited out, refused traits cost nobody else anything, erasures meet rows of other workers."""

import asyncio
import uuid
from datetime import UTC, datetime, timedelta

import pytest

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.errors import StoreRefused, StoreUnavailable
from cdp_identity.recording.acceptance import accepted
from cdp_identity.recording.adapters.clickhouse import ClickHouseColumns
from cdp_identity.recording.draft import Draft
from cdp_identity.recording.erasure import Erasures
from cdp_identity.recording.ports import WAITED_FOR, Erasure, LedgerUnavailable
from cdp_runtime.backoff import Backoff
from cdp_runtime.patience import Patience, Stopping
from cdp_schemas.profiles import NodeMoved, ProfileUpdated
from tests.fakes.recorder import FakeColumns, FakeLedger

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
NODE = uuid.UUID(int=7)


def failing(*errors):
    left = list(errors)

    async def call():
        if left:
            raise left.pop(0)
        return "done"

    return call


async def test_an_outage_is_waited_out_and_shown_meanwhile():
    patience = Patience("recorder", WAITED_FOR, Backoff(base=30, cap=30))
    work = asyncio.create_task(patience.until_done(failing(StoreUnavailable("connection refused"))))
    await asyncio.sleep(0.01)
    assert patience.faults() == {"clickhouse": "clickhouse does not take the recorder's work: connection refused"}
    patience.stop()
    with pytest.raises(Stopping):
        await work


async def test_after_the_outage_nothing_is_at_fault():
    patience = Patience("recorder", WAITED_FOR, Backoff(base=0, cap=0))
    call = failing(LedgerUnavailable("starting up"), StoreRefused("table is away", 60), StoreUnavailable("down"))
    assert await patience.until_done(call) == "done"
    assert patience.faults() == {}


async def test_what_the_caller_knows_better_comes_through():
    with pytest.raises(StoreRefused):
        await Patience("recorder", WAITED_FOR).until_done(failing(StoreRefused("bad JSON", 117)), but=StoreRefused)


async def test_other_errors_are_not_waited_for():
    with pytest.raises(KeyError):
        await Patience("recorder", WAITED_FOR).until_done(failing(KeyError("bug")))


async def test_only_the_refused_traits_are_dropped():
    store = FakeColumns()
    store.bad_traits = {"cursed"}
    updates = [
        ProfileUpdated("w", uuid.UUID(int=n), 1, NOW, traits={"plan": n, **({"cursed": 1} if n == 3 else {})})
        for n in range(6)
    ]
    kept = await accepted(updates, store)
    assert [update.traits for update in kept] == [{"plan": n} for n in range(6)]
    assert [update.profile_id for update in kept] == [update.profile_id for update in updates]


async def test_traits_that_are_refused_only_together_are_all_dropped():
    class Picky(FakeColumns):
        async def acceptable(self, objects):
            return not any("a" in text and "b" in text for text in objects)

    (kept,) = await accepted([ProfileUpdated("w", NODE, 1, NOW, traits={"a": 1, "b": 2})], Picky())
    assert kept.traits == {}


async def test_an_erasure_of_another_worker_meets_rows_inserted_meanwhile():
    store, ledger = FakeColumns(), FakeLedger()
    mine, other = (Erasures(store, ledger, Patience("recorder", WAITED_FOR)) for _ in range(2))
    await other.save(Draft(erased=[NodeMoved("w", NODE, NODE, NODE, 2, NOW, "erased")]))
    await mine.learn(NOW)
    assert mine.met({"w": {NODE: NOW}}) == [Erasure("w", NODE, NOW)]
    assert mine.met({"w": {NODE: NOW + timedelta(seconds=1)}}) == []  # came back, with a new consent
    assert mine.met({"v": {NODE: NOW}}) == []


class Closed(ClickHouse):
    """A server that refuses everything for a while: its user has used up a quota."""

    def __init__(self, answers: int) -> None:
        super().__init__("http://nowhere")
        self.refusals = answers

    async def rows(self, statement, *, settings=None):
        self.refusals -= 1
        if self.refusals >= 0:
            raise StoreRefused("Quota for user `millrace` for 3600s has been exceeded", 201)
        return []


async def test_a_store_that_refuses_everything_for_a_while_costs_nobody_a_trait():
    updates = [ProfileUpdated("w", uuid.UUID(int=n), 1, NOW, traits={"plan": n, "tier": n}) for n in range(3)]
    store = ClickHouseColumns(Closed(answers=7))
    patience = Patience("recorder", WAITED_FOR, Backoff(base=0, cap=0))
    assert await patience.until_done(lambda: accepted(updates, store)) == updates
