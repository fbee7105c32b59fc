"""`cdp migrate` makes the front door's role as a login without superuser, or says what an administrator has to do."""

import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

import psycopg
import pytest
from sqlalchemy.exc import ProgrammingError
from tests.databases import front_door

from cdp_devstack.background import BackgroundStack
from cdp_devstack.parts import Part, Ports
from cdp_runtime.migrate import migrate_postgres, postgres_sql
from cdp_runtime.postgres import Pool, lazy_pool, pool_fault
from cdp_runtime.tenancy import enter_workspace, leave_workspace


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """A server of its own, where nobody has made the role yet."""
    directory = Path(tempfile.mkdtemp(prefix="millrace-test-"))
    stack = BackgroundStack(directory / "data", Ports.free())
    yield stack.url(Part.POSTGRES)
    stack.close()
    shutil.rmtree(directory, ignore_errors=True)


async def administer(server: str, *statements: str) -> None:
    async with await psycopg.AsyncConnection.connect(server, autocommit=True) as connection:
        for statement in statements:
            await connection.execute(statement)


async def tenant(server: str, name: str, attributes: str = "") -> str:
    """The URL of a database and its owner, as a managed Postgres gives them."""
    await administer(
        server,
        f"CREATE ROLE {name} LOGIN PASSWORD 'secret' {attributes}",
        f"CREATE DATABASE {name} OWNER {name}",
        f"REVOKE CONNECT ON DATABASE {name} FROM PUBLIC",
    )
    parts = urlsplit(server)
    return urlunsplit(parts._replace(netloc=f"{name}:secret@127.0.0.1:{parts.port}", path=f"/{name}"))


async def seen(pool: Pool) -> list[str]:
    async with pool.connection() as connection:
        rows = await connection.execute("SELECT workspace_id FROM ingest.accepted ORDER BY 1")
        return [row[0] async for row in rows]


@pytest.fixture
async def nobody() -> AsyncIterator[None]:
    leave_workspace()
    yield
    leave_workspace()


async def serves(url: str) -> None:
    """The owner sees all, its front door one workspace."""
    async with lazy_pool(url, name="owner") as owners, front_door(url, name="door") as door:
        async with owners.connection() as connection:
            for workspace in ("ada", "bob"):
                await connection.execute("INSERT INTO ingest.accepted VALUES (%s, 's', now(), 'r', 1)", [workspace])
        assert await seen(owners) == ["ada", "bob"]
        assert await seen(door) == []
        enter_workspace("ada")
        assert await seen(door) == ["ada"]


@pytest.mark.usefixtures("nobody")
async def test_an_ordinary_owner_migrates_and_serves(server: str) -> None:
    without = await tenant(server, "plain")
    with pytest.raises(ProgrammingError, match="GRANT cdp_front_door TO plain"):
        await migrate_postgres(without)
    async with front_door(without, name="too-early") as door:
        assert await pool_fault(door) is not None  # rather than serving as the owner
    await administer(server, "CREATE ROLE cdp_front_door NOLOGIN", "GRANT cdp_front_door TO plain")
    await migrate_postgres(without)
    await serves(without)
    await administer(server, "DROP DATABASE plain WITH (FORCE)", "DROP ROLE cdp_front_door")

    leave_workspace()
    able = await tenant(server, "able", "CREATEROLE")
    await migrate_postgres(able)
    await migrate_postgres(able)  # again: nothing to do
    await serves(able)


def test_the_sql_to_read_beforehand_has_role_and_policies(server: str, capsys: pytest.CaptureFixture[str]) -> None:
    postgres_sql(server)
    printed = capsys.readouterr().out
    assert "CREATE ROLE cdp_front_door NOLOGIN" in printed
    assert "ALTER TABLE identity.profiles ENABLE ROW LEVEL SECURITY" in printed
