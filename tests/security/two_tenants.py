"""A migrated Postgres -> the same row of two workspaces, and of none, in every table that has workspaces."""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final
from uuid import UUID

from psycopg import AsyncConnection, sql

ADA, BOB, NOBODY = "ada", "bob", ""
WORKSPACES: Final = (ADA, BOB, NOBODY)
_TABLES: Final = """
SELECT n.nspname, c.relname, c.relkind::text FROM pg_class AS c JOIN pg_namespace AS n ON n.oid = c.relnamespace
JOIN pg_attribute AS a ON a.attrelid = c.oid AND a.attname = 'workspace_id' AND NOT a.attisdropped
WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND n.nspname NOT IN ('pg_catalog', 'information_schema')
ORDER BY 1, 2
"""
_COLUMNS: Final = """
SELECT attname, format_type(atttypid, NULL), attnotnull AND NOT atthasdef FROM pg_attribute
WHERE attrelid = %s::regclass AND attnum > 0 AND NOT attisdropped AND attgenerated = '' AND attidentity <> 'a'
ORDER BY attnum
"""
_X: Final = UUID(int=7)
# where any value of the type would not do, or an optional column is what a query looks for
_SPECIAL: Final[dict[str, Any]] = {
    "b": UUID(int=8),
    "kind": "email",
    "value": "x@x.example",
    "type": "manual",
    "keys": "{7}",
    "number": 7,  # of a segment, as in a profile's list of them
}
_SPECIAL["paused_class"] = "requested"
_VALUES: Final[Mapping[str, Any]] = {
    **dict.fromkeys(("text", '"char"'), "x"),
    **dict.fromkeys(("real", "smallint", "integer", "bigint"), 1),
    "uuid": _X,
    "boolean": True,
    "jsonb": "{}",
    "bytea": b"x",
    "text[]": "{x}",
    "integer[]": "{7}",
    "bigint[]": "{7}",
    "timestamp with time zone": "2026-01-02T03:04:05Z",
}


@dataclass(frozen=True)
class Relation:
    """A table or view with a workspace_id."""

    schema: str
    name: str
    kind: str

    @property
    def sql(self) -> sql.Identifier:
        return sql.Identifier(self.schema, self.name)

    @property
    def is_table(self) -> bool:
        return self.kind in ("r", "p")

    def __str__(self) -> str:
        return f"{self.schema}.{self.name}"


async def relations(connection: AsyncConnection[Any]) -> list[Relation]:
    """All that have a workspace_id, in every schema."""
    return [Relation(*row) for row in await (await connection.execute(_TABLES)).fetchall()]


async def made_up(connection: AsyncConnection[Any], table: Relation) -> dict[str, Any]:
    """A value for each column that needs one: always the same, so that rows differ in their workspaces alone."""
    columns = await (await connection.execute(_COLUMNS, [str(table)])).fetchall()
    values = {name: _SPECIAL.get(name, _VALUES[kind]) for name, kind, needed in columns if needed or name in _SPECIAL}
    return {name: value for name, value in values.items() if name != "workspace_id"}


def insertion(table: Relation, workspace: str, values: Mapping[str, Any]) -> tuple[sql.Composed, list[Any]]:
    """The statement and its parameters."""
    names = sql.SQL(", ").join(map(sql.Identifier, ("workspace_id", *values)))
    places = sql.SQL(", ").join([sql.Placeholder()] * (len(values) + 1))
    statement = sql.SQL("INSERT INTO {} ({}) VALUES ({})").format(table.sql, names, places)
    return statement, [workspace, *values.values()]


async def fill(connection: AsyncConnection[Any]) -> None:
    """A row of each workspace in every table, and no other, whatever the tables ask of one another."""
    await connection.execute("SET session_replication_role = replica")
    for table in await relations(connection):
        if table.is_table:
            await connection.execute(sql.SQL("DELETE FROM {}").format(table.sql))
            values = await made_up(connection, table)
            for workspace in WORKSPACES:
                # what is unique in all workspaces together (hashes of keys) cannot be the same
                own = {name: f"{value}{workspace}" if "hash" in name else value for name, value in values.items()}
                await connection.execute(*insertion(table, workspace, own))
    await connection.commit()
