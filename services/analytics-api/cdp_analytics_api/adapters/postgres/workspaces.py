"""front.workspaces <-> workspaces, for the commands of who runs the platform."""

from datetime import datetime
from typing import Any, Final

from psycopg import AsyncConnection

_CREATE: Final = "INSERT INTO front.workspaces (workspace_id, name) VALUES (%s, %s) ON CONFLICT DO NOTHING"
_LIST: Final = """
SELECT workspace_id, name, created_at, (SELECT count(*) FROM front.tokens
    WHERE tokens.workspace_id = workspaces.workspace_id AND revoked_at IS NULL) AS tokens
FROM front.workspaces ORDER BY workspace_id
"""


async def create_workspace(connection: AsyncConnection[Any], workspace_id: str, name: str) -> bool:
    """False when there is one of that id already."""
    return (await connection.execute(_CREATE, (workspace_id, name))).rowcount == 1


async def workspaces(connection: AsyncConnection[Any]) -> list[tuple[str, str, datetime, int]]:
    """Id, name, since when, how many tokens open it."""
    return await (await connection.execute(_LIST)).fetchall()
