"""Statements about activation's tables -> rows, each column name -> value; and what a connection is named by there."""

from collections.abc import Mapping
from typing import Any

from psycopg.rows import dict_row

from cdp_activation.ledger import ConnectionKey
from cdp_runtime.postgres import Connection, Pool


async def rows_of(pool: Pool, statement: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    async with pool.connection() as connection:
        return await rows_in(connection, statement, parameters)


async def rows_in(connection: Connection, statement: str, parameters: Mapping[str, Any]) -> list[dict[str, Any]]:
    """As :func:`rows_of`, within the caller's transaction."""
    async with connection.cursor(row_factory=dict_row) as cursor:
        await cursor.execute(statement, parameters)
        return await cursor.fetchall()


def key_of(row: Mapping[str, Any]) -> ConnectionKey:
    return ConnectionKey(row["workspace_id"], row["audience_id"], row["destination_id"])


def names_of(key: ConnectionKey) -> dict[str, Any]:
    """The key as a statement's parameters."""
    return {"workspace": key.workspace_id, "audience": key.audience_id, "destination": key.destination_id}
