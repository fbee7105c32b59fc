"""Migrations of every service -> Postgres schemas (Alembic) and ClickHouse tables (numbered SQL files)."""

import asyncio
from dataclasses import dataclass
from importlib.metadata import entry_points
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit, urlunsplit

from alembic import command
from alembic.config import Config
from alembic.script import ScriptDirectory

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.errors import StoreUnavailable
from cdp_clickhouse.statement import Statement
from cdp_runtime.postgres import lone_session

_LOCK = 7_310_003  # Alembic's environment has the first of these, the resolver's upkeep the second


@dataclass(frozen=True, slots=True)
class Migrations:
    """One service's folder of migrations."""

    package: str
    path: Path

    @property
    def postgres(self) -> Path:
        return self.path / "postgres"

    @property
    def clickhouse(self) -> list[Path]:
        return sorted((self.path / "clickhouse").glob("*.sql"))


def all_migrations() -> list[Migrations]:
    """The migrations of every installed service, each found beside its package."""
    packages = {entry.value.partition(".")[0] for entry in entry_points(group="cdp.services")}
    found = []
    for package in sorted(packages):
        spec = find_spec(package)
        if spec is not None and spec.origin is not None:
            found.append(Migrations(package, Path(spec.origin).parent.parent / "migrations"))
    return [migrations for migrations in found if migrations.path.is_dir()]


def alembic_config(url: str) -> Config:
    """Alembic over all services' revisions: each service is a branch of its own."""
    config = Config()
    config.set_main_option("script_location", str(Path(__file__).parent / "alembic"))
    folders = [str(migrations.postgres) for migrations in all_migrations() if migrations.postgres.is_dir()]
    config.set_main_option("version_locations", "\n".join(folders))
    config.set_main_option("path_separator", "newline")
    config.attributes["url"] = url
    return config


async def migrate(postgres_url: str, clickhouse_url: str) -> tuple[list[str], list[str]]:
    """Both, as below. Safe to run from several processes at once: Postgres has the lock that ClickHouse has not."""
    heads = await migrate_postgres(postgres_url)
    async with await lone_session(postgres_url, name="migrate") as connection:
        await connection.execute("SELECT pg_advisory_lock(%s)", [_LOCK])
        return heads, await migrate_clickhouse(clickhouse_url)


async def migrate_postgres(url: str) -> list[str]:
    """Brings every schema to its newest revision; returns the heads. Safe to run from several processes at once."""
    config = alembic_config(url)
    await asyncio.to_thread(command.upgrade, config, "heads")
    return sorted(ScriptDirectory.from_config(config).get_heads())


def postgres_sql(url: str) -> None:
    """Prints the SQL that would run in this database as it is, without running it."""
    command.upgrade(alembic_config(url), "heads", sql=True)


async def migrate_clickhouse(url: str, *, patience_s: float = 60.0) -> list[str]:
    """Runs the SQL files that this database has not seen; returns their names. For one process at a time.

    Waits for a server that is just starting. Raises StoreUnavailable when it goes on not answering.
    """
    await _create_database(url, patience_s)
    store = ClickHouse(url)
    try:
        await store.command(Statement(_LEDGER, {}))
        rows = await store.rows(Statement("SELECT name FROM cdp_migrations", {}))
        seen = {row["name"] for row in rows}
        new = [
            (f"{migrations.package}/{path.name}", path)
            for migrations in all_migrations()
            for path in migrations.clickhouse
        ]
        done = []
        for name, path in new:
            if name not in seen:
                for statement in statements(path.read_text()):
                    await store.command(Statement(statement, {}))
                await store.command(
                    Statement("INSERT INTO cdp_migrations (name) VALUES ({name:String})", {"name": name})
                )
                done.append(name)
        return done
    finally:
        await store.stop()


def statements(sql: str) -> list[str]:
    """A migration file's statements; they end with a semicolon at the end of a line."""
    lines = (line for line in sql.splitlines() if not line.lstrip().startswith("--"))
    parts = "\n".join(lines).split(";\n")
    return [part.strip().removesuffix(";") for part in parts if part.strip()]


async def _create_database(url: str, patience_s: float) -> None:
    parts = urlsplit(url)
    database = parts.path.strip("/") or "default"
    server = ClickHouse(urlunsplit(parts._replace(path="/default")))
    try:
        async with asyncio.timeout(patience_s):
            await server.start()
        if database != "default":
            await server.command(Statement(f"CREATE DATABASE IF NOT EXISTS `{database}`", {}))
    except TimeoutError:
        raise StoreUnavailable(server.fault() or "it takes too long") from None
    finally:
        await server.stop()


_LEDGER = """
CREATE TABLE IF NOT EXISTS cdp_migrations (name String, applied_at DateTime DEFAULT now())
ENGINE = MergeTree ORDER BY name
"""
