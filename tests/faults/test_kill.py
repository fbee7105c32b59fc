"""kill -9 of every process under load: nothing is lost, nothing counts twice, not a cent is wrong."""

import asyncio
import os
import random
import subprocess
import time
import uuid
from pathlib import Path

import pytest
from tests.millrace import Millrace
from tests.processes import CDP, environment

from cdp_clickhouse.client import ClickHouse
from cdp_eventlog.brokers import Brokers
from cdp_verify.findings import Finding
from cdp_verify.journal import Answer, Journal, JournalWriter, Run
from cdp_verify.load import Client, Sum
from cdp_verify.proof import Question, prove, prove_journal
from cdp_verify.shop import Mix, Shops
from cdp_verify.stores import LogReads, PostgresReads, Stores

VICTIMS = ("ingest", "resolver", "recorder", "segmenter", "kafka")
ROUNDS = int(os.environ.get("CDP_FAULT_ROUNDS", "6"))
SECONDS = float(os.environ.get("CDP_FAULT_ROUND_SECONDS", "3"))
RATE = float(os.environ.get("CDP_FAULT_RATE", "250"))
SETTLES_S, QUIET_S = 240.0, 30.0
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


def second_workspace(millrace: Millrace) -> dict[str, str]:
    """Workspace -> write key, for the demo's and one more."""
    env = environment(CDP_POSTGRES_URL=millrace.postgres_url)
    for command in (
        ("workspaces", "create", "neighbour", "--name", "Neighbour"),
        ("sources", "create", "web", "--workspace", "neighbour", "--write-key", "neighbour-write-key"),
    ):
        subprocess.run([CDP, *command], env=env, check=True, capture_output=True, timeout=60)
    return {"demo": "demo-write-key", "neighbour": "neighbour-write-key"}


async def loaded(millrace: Millrace, path: Path, seed: int, kills: list[str]) -> Sum:
    """Writes the journal at ``path`` while processes are killed; returns when the last call has its answer."""
    keys = second_workspace(millrace)
    run = Run(f"kill{seed}", seed, list(keys))
    over = asyncio.Event()
    with JournalWriter(path, run) as writer:
        shops = Shops(run.prefix, seed, run.workspaces, Mix(people=60, late=0.02, faulty=0.01))
        load = asyncio.create_task(Client(millrace.gateway, keys, shops, writer).run(RATE, over.is_set))
        await rounds(millrace, random.Random(seed), kills)
        over.set()
        return await load


@pytest.mark.timeout(1800)
async def test_kills_at_random_moments_lose_and_double_nothing(millrace: Millrace, tmp_path: Path) -> None:
    seed = int(os.environ.get("CDP_FAULT_SEED", str(uuid.uuid4().int % 10**6)))
    kills: list[str] = []
    said = await loaded(millrace, tmp_path / "journal", seed, kills)
    journal = Journal(tmp_path / "journal")
    columns = ClickHouse(millrace.clickhouse_url)
    log = LogReads(Brokers(f"127.0.0.1:{millrace.ports['KAFKA']}"))
    stores = Stores(columns, PostgresReads(millrace.postgres_url), log)
    try:
        await asyncio.to_thread(millrace.all_ready)
        await settled(stores, journal)
        findings = await prove(stores, Question(journal))
    finally:
        await columns.stop()
    assert journal.count(Answer.ACCEPTED) > ROUNDS * 50, "there was hardly any load"
    assert broken(findings) == {}, f"seed {seed}: {len(kills)} kills, {said}, {journal.outages} outages"
    unchecked = {one.invariant for one in findings if one.not_checked}
    assert unchecked <= {"I12", "I13", "I14", "I16"}, [one.not_checked for one in findings]


def broken(findings: list[Finding]) -> dict[str, list[str]]:
    return {one.invariant: one.violations for one in findings if one.count}


async def settled(stores: Stores, journal: Journal) -> None:
    """Returns when what a journal can tell holds, or when nothing more arrives: then the proof tells what is wrong."""
    deadline, last, quiet = time.monotonic() + SETTLES_S, "", time.monotonic() + QUIET_S
    while time.monotonic() < min(deadline, quiet):
        findings = await prove_journal(stores, journal)
        if not broken(findings) and not (await stores.postgres.rows("SELECT FROM segmenter.outbox_batches LIMIT 1")):
            return
        if (seen := str([(one.count, one.compared) for one in findings])) != last:
            last, quiet = seen, time.monotonic() + QUIET_S
        await asyncio.sleep(1.0)


def test_the_stack_works_on_as_if_nothing_had_been(millrace: Millrace) -> None:
    email = f"after-{uuid.uuid4().hex[:8]}@example.com"
    created = millrace.api("POST", "/profiles", json={"email": email})
    assert created.is_success, created.text
    assert millrace.profile(f"email:{email}")["attributes"]["email"] == email
