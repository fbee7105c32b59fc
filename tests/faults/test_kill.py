"""kill -9 of every process under load: nothing is lost, nothing counts twice, not a cent is wrong."""

import asyncio
import os
import random
import time
import uuid

import pytest
from tests.faults.checker import Stores, check, received
from tests.faults.load import Client, Journal, Shop
from tests.millrace import Millrace

VICTIMS = ("ingest", "resolver", "recorder", "segmenter", "kafka")
ROUNDS = int(os.environ.get("CDP_FAULT_ROUNDS", "10"))
SECONDS = float(os.environ.get("CDP_FAULT_ROUND_SECONDS", "3"))
pytestmark = [pytest.mark.stack, pytest.mark.slow]


async def rounds(millrace: Millrace, chance: random.Random, kills: list[str]) -> None:
    """Each round kills each victim once, at moments of its own, and begins when everything is ready again."""
    for _ in range(ROUNDS):
        start = time.monotonic()
        moments = sorted((chance.uniform(0, SECONDS), victim) for victim in VICTIMS)
        for moment, victim in moments:
            await asyncio.sleep(max(0.0, start + moment - time.monotonic()))
            await asyncio.to_thread(kill_when_alive, millrace, victim)
            kills.append(victim)
        await asyncio.to_thread(millrace.all_ready)


def kill_when_alive(millrace: Millrace, victim: str) -> None:
    """It may be starting again after an outage that another kill caused; that is a moment like any other."""
    millrace.until(f"{victim} runs", lambda: millrace.kill(victim), bool, 60)


@pytest.mark.timeout(1800)
async def test_kills_at_random_moments_lose_and_double_nothing(millrace: Millrace) -> None:
    seed = int(os.environ.get("CDP_FAULT_SEED", str(uuid.uuid4().int % 10**6)))
    prefix = f"kill{seed}"
    journal = Journal(prefix)
    client = Client(millrace.gateway, journal, Shop(prefix, seed), seed)
    over, kills = asyncio.Event(), []
    load = asyncio.create_task(client.run(4, over.is_set))
    await rounds(millrace, random.Random(seed), kills)
    over.set()
    await load
    stores = Stores(millrace.clickhouse_url)
    await asyncio.to_thread(settle, millrace, journal, stores)
    accepted = len(journal.having("accepted"))
    bootstrap = f"127.0.0.1:{millrace.ports['KAFKA']}"
    assert stores.outcomes() == await received(bootstrap), "I4: an event of the log has no outcome, or two"
    assert accepted > ROUNDS * 50, "there was hardly any load"
    assert check(journal, stores) == {}, (
        f"seed {seed}: {len(kills)} kills, {accepted} accepted, {journal.outages} outages"
    )


def settle(millrace: Millrace, journal: Journal, stores: Stores) -> None:
    """Waits until every process is ready and every accepted event is stored, or nothing more arrives."""
    millrace.all_ready()
    wanted = len(journal.having("accepted"))
    last, quiet = -1, time.monotonic()
    while time.monotonic() < quiet + 25:
        violations = check(journal, stores)
        if not violations:
            return
        seen = len(stores.events(journal.prefix))
        if seen != last:
            last, quiet = seen, time.monotonic()
        time.sleep(1.0)
    assert last >= 0 and wanted > 0


def test_the_stack_works_on_as_if_nothing_had_been(millrace: Millrace) -> None:
    email = f"after-{uuid.uuid4().hex[:8]}@example.com"
    created = millrace.api("POST", "/profiles", json={"email": email})
    assert created.is_success, created.text
    assert millrace.profile(f"email:{email}")["attributes"]["email"] == email
