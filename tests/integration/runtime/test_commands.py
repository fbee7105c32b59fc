"""Production without SQL: what `cdp workspaces`, `sources` and `tokens` make is what the gateway and the door find."""

import asyncio
import os
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path
from unittest.mock import ANY
from uuid import uuid4

import pytest
import typer
from typer.testing import CliRunner, Result

from cdp_analytics_api.adapters.postgres.tokens import PostgresTokens
from cdp_analytics_api.commands import tokens_app, workspaces_app
from cdp_analytics_api.service import seed_local as seed_door
from cdp_analytics_api.tokens import TokenAuthenticator
from cdp_ingest.adapters.postgres import PostgresSources
from cdp_ingest.commands import app as sources_app
from cdp_ingest.ports import Source
from cdp_ingest.service import seed_local as seed_gateway
from cdp_runtime.auth import SCOPES, hash_token
from cdp_runtime.clock import SystemClock
from cdp_runtime.commands import CommandRefused
from cdp_runtime.migrate import migrate_postgres
from cdp_runtime.postgres import Pool, open_pool

pytestmark = pytest.mark.postgres


COMMANDS = typer.Typer()
for name, commands in (("workspaces", workspaces_app), ("tokens", tokens_app), ("sources", sources_app)):
    COMMANDS.add_typer(commands, name=name)


class Program:
    """The commands of ``cdp``, in this process: a process of its own for each would take a second."""

    def __init__(self, postgres_url: str) -> None:
        secret = {"CDP_ENVIRONMENT": "production", "CDP_SECRET_KEY": "x" * 32}
        self.environment = {"CDP_POSTGRES_URL": postgres_url, **secret}

    async def __call__(self, *arguments: str) -> str:
        """What it prints for a pipe. Raises what it raises."""
        done = await self._run(*arguments)
        if done.exception is not None:
            raise done.exception
        return done.stdout

    async def fails(self, *arguments: str) -> str:
        """Its one sentence."""
        done = await self._run(*arguments)
        assert isinstance(done.exception, CommandRefused), done
        assert done.stdout == ""
        return str(done.exception)

    async def _run(self, *arguments: str) -> Result:
        return await asyncio.to_thread(CliRunner().invoke, COMMANDS, list(arguments), env=self.environment)


@pytest.fixture(scope="session")
async def cdp(postgres_url: str) -> Program:
    await migrate_postgres(postgres_url)
    return Program(postgres_url)


@pytest.fixture
async def pool(postgres_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(postgres_url, name="test-commands")
    yield pool
    await pool.close()


@pytest.fixture
async def workspace(cdp: Program) -> str:
    name = f"ws-{uuid4().hex[:10]}"
    await cdp("workspaces", "create", name, "--name", "Acme Ltd")
    return name


def row(listing: str, *cells: str) -> str:
    """The only line that has these cells."""
    (found,) = [line for line in listing.splitlines() if set(cells) <= set(line.split())]
    return found


async def test_a_shell_gets_the_secret_alone_or_one_sentence(cdp: Program, workspace: str) -> None:
    kept = {name: value for name, value in os.environ.items() if not name.startswith("CDP_")}
    program = [str(Path(sys.executable).with_name("cdp")), "sources", "create", "web", "--workspace"]

    def run(workspace: str) -> tuple[int, list[str], list[str]]:
        command, environment = [*program, workspace], {**kept, **cdp.environment}
        done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60, check=False)
        return done.returncode, done.stdout.split(), done.stderr.splitlines()

    code, (key,), _ = await asyncio.to_thread(run, workspace)
    assert code == 0 and len(key) >= 32
    assert await asyncio.to_thread(run, workspace) == (1, [], [ANY])


async def test_a_workspace_is_made_once(cdp: Program, workspace: str) -> None:
    assert "Acme Ltd" in row(await cdp("workspaces", "list"), workspace)
    assert "already" in await cdp.fails("workspaces", "create", workspace)
    assert "is no id" in await cdp.fails("workspaces", "create", "Acme|Shop")


async def test_a_source_is_what_the_gateway_finds(cdp: Program, workspace: str, pool: Pool) -> None:
    key = (await cdp("sources", "create", "web", "--workspace", workspace, "--name", "Web shop")).strip()
    assert len(key) >= 32
    sources = PostgresSources(pool)
    assert await sources.source(hash_token(key)) == Source(workspace, "web", "Web shop")
    listing = await cdp("sources", "list", "--workspace", workspace)
    assert key not in listing and f"...{key[-4:]}" in row(listing, "web", "enabled")
    assert "already" in await cdp.fails("sources", "create", "web", "--workspace", workspace)


async def test_a_source_changes_in_what_is_named_alone(cdp: Program, workspace: str, pool: Pool) -> None:
    sources, of = PostgresSources(pool), ("--workspace", workspace)
    key = (await cdp("sources", "create", "app", *of, "--need", "analytics", "--need", "ads")).strip()
    made = Source(workspace, "app", "app", required_consent=("analytics", "ads"))
    assert await sources.source(hash_token(key)) == made
    await cdp("sources", "update", "app", *of, "--disable", "--events-per-second", "50")
    changed = await sources.source(hash_token(key))
    assert changed == Source(workspace, "app", "app", False, {"eventsPerSecond": 50}, ("analytics", "ads"))
    await cdp("sources", "update", "app", *of, "--enable", "--need-nothing", "--events-per-second", "0")
    assert await sources.source(hash_token(key)) == Source(workspace, "app", "app")
    newer = (await cdp("sources", "update", "app", *of, "--new-key")).strip()
    assert await sources.source(hash_token(key)) is None
    assert await sources.source(hash_token(newer)) == Source(workspace, "app", "app")
    assert "Nothing to change" in await cdp.fails("sources", "update", "app", *of)
    assert "has no source 'none'" in await cdp.fails("sources", "update", "none", *of, "--enable")


async def test_a_key_that_senders_have_already_can_be_taken_over_by_one_source(
    cdp: Program, workspace: str, pool: Pool
) -> None:
    key, of = f"old-{uuid4().hex}", ("--workspace", workspace)
    assert (await cdp("sources", "create", "old", *of, "--write-key", key)).strip() == key
    found = await PostgresSources(pool).source(hash_token(key))
    assert found is not None and found.source_id == "old"
    assert "another source has this write key" in await cdp.fails("sources", "create", "new", *of, "--write-key", key)


async def test_a_token_opens_the_door_within_its_scopes_until_it_is_revoked(
    cdp: Program, workspace: str, pool: Pool
) -> None:
    of = ("--workspace", workspace)
    token = (await cdp("tokens", "create", *of, "--name", "bi", "--scope", "analytics:read", "--days", "30")).strip()
    everything = (await cdp("tokens", "create", *of, "--name", "root", "--all-scopes")).strip()
    door = TokenAuthenticator(PostgresTokens(pool), SystemClock(), cache_seconds=0)
    principal, root = await door.principal(token), await door.principal(everything)
    assert principal is not None and root is not None
    assert (principal.workspace_id, principal.scopes) == (workspace, frozenset({"analytics:read"}))
    assert root.scopes == SCOPES
    listing = await cdp("tokens", "list", *of)
    assert token not in listing and "until" in row(listing, "bi", "analytics:read", principal.token_id)
    await cdp("tokens", "revoke", *of, principal.token_id)
    assert await door.principal(token) is None and await door.principal(everything) is not None
    assert "revoked" in row(await cdp("tokens", "list", *of), principal.token_id)
    assert "no token" in await cdp.fails("tokens", "revoke", *of, principal.token_id)


async def test_the_local_stacks_seeds_make_the_same_things_and_may_run_again(
    cdp: Program, pool: Pool, postgres_url: str
) -> None:
    for seed in (seed_door, seed_gateway) * 2:
        await seed(postgres_url)
    assert "Demo" in row(await cdp("workspaces", "list"), "demo", "1")
    assert "enabled" in row(await cdp("sources", "list", "--workspace", "demo"), "source-demo")
    root = await TokenAuthenticator(PostgresTokens(pool), SystemClock(), cache_seconds=0).principal("demo-api-token")
    assert root is not None and (root.workspace_id, root.scopes) == ("demo", SCOPES)


async def test_a_misspelled_workspace_or_scope_makes_nothing(cdp: Program, workspace: str) -> None:
    said = await cdp.fails("sources", "create", "web", "--workspace", workspace + "x")
    assert f"There is no workspace '{workspace}x'" in said and workspace in said
    assert "no workspace" in await cdp.fails("tokens", "create", "--workspace", "nope", "--name", "n", "--all-scopes")
    of = ("--workspace", workspace, "--name", "n")
    assert "there is no profiles:raed" in await cdp.fails("tokens", "create", *of, "--scope", "profiles:raed")
    assert "--all-scopes" in await cdp.fails("tokens", "create", *of)
    too_long = await cdp._run("tokens", "create", *of, "--all-scopes", "--days", "10000000")
    assert too_long.exit_code == 2 and "--days" in too_long.output
    assert len((await cdp("tokens", "list", "--workspace", workspace)).splitlines()) == 1
