"""Destinations held by this process, as advisory locks of one Postgres session: they end with the process."""

import asyncio

import psycopg

from cdp_activation.ledger import DestinationKey
from cdp_runtime.postgres import lone_session


class PostgresHoldings:
    """Implements the port Holdings. Needs a session of its own, not a transaction pooler."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: psycopg.AsyncConnection | None = None
        self._connecting = asyncio.Lock()
        # a lock ends with the session it was taken in, whichever is open by then
        self._held: dict[DestinationKey, psycopg.AsyncConnection] = {}

    async def stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def hold(self, key: DestinationKey) -> bool:
        session = await self._open()
        statement = "SELECT pg_try_advisory_lock(hashtextextended(%s, 6262))"
        row = await (await session.execute(statement, [_name(key)])).fetchone()
        if row is None or not row[0]:
            return False
        self._held[key] = session
        return True

    async def let_go(self, key: DestinationKey) -> None:
        session = self._held.pop(key, None)
        if session is not None and not session.closed:
            await session.execute("SELECT pg_advisory_unlock(hashtextextended(%s, 6262))", [_name(key)])

    async def healthy(self, key: DestinationKey) -> bool:
        session = self._held.get(key)
        if session is None or session.closed:
            return False
        try:
            # a session that the server ended looks open until it is used
            await session.execute("SELECT 1")
        except psycopg.OperationalError:
            return False
        return True

    async def _open(self) -> psycopg.AsyncConnection:
        """The session; another after it broke. Raises psycopg.OperationalError while Postgres is away."""
        async with self._connecting:
            if self._session is None or self._session.closed:
                self._session = await lone_session(self._url, name="activation-holdings")
            return self._session


def _name(key: DestinationKey) -> str:
    return "\x1f".join(key)
