"""Another CDP_SECRET_KEY is noticed before anybody who opted out is sent again, and a lost one can be given up."""

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from psycopg.types.json import Jsonb
from tests.databases import fresh_database
from tests.integration.identity.test_playbooks import playbook
from tests.processes import CdpProcess, environment

from cdp_activation.adapters.postgres_key import keep_key
from cdp_activation.service import ActivationApi
from cdp_activation.settings import ActivationSettings
from cdp_activation.standin.app import ACCESS_TOKEN
from cdp_runtime.postgres import Pool, open_pool
from cdp_runtime.secrets import SecretBox
from cdp_runtime.settings import BadSettings

from .conftest import SECRET, Standin, World

pytestmark = pytest.mark.postgres
ANOTHER = "another secret, that is as long as one has to be"


@pytest.fixture(scope="module")
async def url(postgres_url: str) -> str:
    return await fresh_database(postgres_url, "secret_key_test")


@pytest.fixture
async def installation(url: str) -> AsyncIterator[Pool]:
    """One that no process has started on."""
    pool = await open_pool(url, name="secret-key-test", max_size=4)
    await execute(pool, "TRUNCATE activation.key_fingerprint, activation.destinations, activation.deliveries CASCADE")
    yield pool
    await pool.close()


async def execute(pool: Pool, statement: str, parameters: Any = ()) -> None:
    async with pool.connection() as connection:
        await connection.execute(statement, parameters)


async def add_destination(pool: Pool, secret: str) -> None:
    sealed = SecretBox(secret).seal({"accessToken": "t"}, "acme|destination-1")
    columns = "workspace_id, destination_id, name, type, settings, credentials"
    await execute(
        pool,
        f"INSERT INTO activation.destinations ({columns}) VALUES ('acme', 'destination-1', 'F', 'webhook', %s, %s)",
        [Jsonb({}), sealed],
    )


async def test_the_first_key_stays_the_key(installation: Pool) -> None:
    await keep_key(installation, SECRET)
    await keep_key(installation, SECRET)
    with pytest.raises(BadSettings, match=r"CDP_SECRET_KEY.*opted out.*Put the old key back"):
        await keep_key(installation, ANOTHER)
    await keep_key(installation, SECRET)


async def test_of_two_that_start_first_at_once_one_has_the_key(installation: Pool) -> None:
    keys = [SECRET, ANOTHER] * 2
    ends = await asyncio.gather(*(keep_key(installation, key) for key in keys), return_exceptions=True)
    assert {key for key, end in zip(keys, ends, strict=True) if end is None} in ({SECRET}, {ANOTHER})
    assert [type(end) for end in ends if end is not None] == [BadSettings] * 2


async def test_an_older_installation_takes_the_key_that_opens_its_credentials(installation: Pool) -> None:
    await add_destination(installation, SECRET)
    with pytest.raises(BadSettings, match="CDP_SECRET_KEY"):
        await keep_key(installation, ANOTHER)
    await keep_key(installation, SECRET)


async def open_door(url: str, secret: str) -> None:
    part = ActivationApi(ActivationSettings(postgres_url=url, secret_key=secret))
    try:
        await part.start()
    finally:
        await part.stop()


async def test_the_front_door_opens_under_the_same_key_alone(installation: Pool, url: str) -> None:
    await open_door(url, ANOTHER)
    await keep_key(installation, SECRET)
    await open_door(url, SECRET)
    with pytest.raises(BadSettings, match="CDP_SECRET_KEY"):
        await open_door(url, ANOTHER)
    with pytest.raises(ConnectionError, match="Postgres does not answer"):
        await open_door("postgresql://cdp:cdp@127.0.0.1:1/cdp", SECRET)


async def test_a_process_ends_with_the_sentence(installation: Pool, url: str, tmp_path: Path) -> None:
    await keep_key(installation, SECRET)
    settings = environment(CDP_POSTGRES_URL=url, CDP_SECRET_KEY=ANOTHER, CDP_KAFKA_BOOTSTRAP_SERVERS="127.0.0.1:1")
    process = CdpProcess(("run", "activation"), settings, tmp_path / "activation.log")
    process.start()
    try:
        assert await asyncio.to_thread(process.ended) == 1
    finally:
        process.close()
    said = process.log.read_text()
    assert said.splitlines()[-1].startswith("CDP_SECRET_KEY is not the one of this installation.")
    assert "Traceback" not in said and ANOTHER not in said


async def test_a_lost_key_is_given_up(installation: Pool, url: str, standin: Standin) -> None:
    world = World(installation, standin, "acme", url)
    destination = await world.destination()
    await world.audience(destination)
    ada = world.person("ada")
    await keep_key(installation, SECRET)
    async with world.working():
        await world.enter(ada)
        await world.settled()
    for statement in playbook("lost-key"):
        await execute(installation, statement)
    await keep_key(installation, ANOTHER)
    world.box = SecretBox(ANOTHER)
    bob = world.person("bob")
    await world.enter(bob)
    async with world.working():
        await asyncio.sleep(0.3)
        assert len(await standin.members()) == 1, "nobody is sent without credentials"
        sealed = world.box.seal({"accessToken": ACCESS_TOKEN}, f"acme|{destination}")
        await execute(installation, "UPDATE activation.destinations SET credentials = %s", [sealed])
        await world.settled()
    assert len(await standin.members()) == 2
    assert all(row["acknowledged"] for row in (await world.deliveries()).values())
