"""Destinations held by this process, as advisory locks of one Postgres session: they end with the process."""

import psycopg

from cdp_activation.ledger import DestinationKey


class PostgresHoldings:
    """Implements the port Holdings. Needs a session of its own, not a transaction pooler."""

    def __init__(self, url: str) -> None:
        self._url = url
        self._session: psycopg.AsyncConnection | None = None

    async def start(self) -> None:
        """Opens the session; again after it broke. Raises psycopg.OperationalError while Postgres is away."""
        await self.stop()
        self._session = await psycopg.AsyncConnection.connect(
            self._url, autocommit=True, application_name="activation-holdings", connect_timeout=3
        )

    async def stop(self) -> None:
        session, self._session = self._session, None
        if session is not None:
            await session.close()

    async def hold(self, key: DestinationKey) -> bool:
        if self._session is None or self._session.closed:
            await self.start()
        return bool(await self._ask("SELECT pg_try_advisory_lock(hashtextextended(%s, 6262))", key))

    async def let_go(self, key: DestinationKey) -> None:
        if self._session is not None and not self._session.closed:
            await self._ask("SELECT pg_advisory_unlock(hashtextextended(%s, 6262))", key)

    def healthy(self) -> bool:
        return self._session is not None and not self._session.closed

    async def _ask(self, statement: str, key: DestinationKey) -> bool | None:
        assert self._session is not None
        row = await (await self._session.execute(statement, ["\x1f".join(key)])).fetchone()
        return row[0] if row else None
