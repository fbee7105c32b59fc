"""One of several segmenter processes: whoever holds a lock of Postgres leads, and its death lets go at once."""

from typing import Any, Final

import psycopg
import structlog

from cdp_runtime.postgres import lone_session

_log = structlog.get_logger(__name__)
_LOCK: Final = "SELECT pg_try_advisory_lock(hashtextextended('segmenter-leader', 0))"


class PostgresLeader:
    """A connection of its own: the lock lives as long as it does."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._connection: psycopg.AsyncConnection[Any] | None = None
        self._led = False

    async def leads(self) -> bool:
        """Whether this process leads now; tries to when nobody does. Raises psycopg.Error while Postgres is away."""
        try:
            return await self._ask()
        except psycopg.Error:
            await self.stop()
            raise

    async def _ask(self) -> bool:
        if self._connection is None:
            self._connection = await lone_session(self._url, name="segmenter-leader")
            self._led = False
        if self._led:
            await self._connection.execute("SELECT 1")
            return True
        row = await (await self._connection.execute(_LOCK)).fetchone()
        self._led = bool(row and row[0])
        if self._led:
            _log.info("leading")
        return self._led

    async def stop(self) -> None:
        """Lets go."""
        connection, self._connection = self._connection, None
        if connection is not None:
            await connection.close()
