"""Postgres URL -> pools that wait for the server instead of failing."""

import asyncio
import logging
from typing import Any

import psycopg
from psycopg_pool import AsyncConnectionPool, PoolTimeout

from cdp_runtime.backoff import Backoff

_log = logging.getLogger(__name__)
_TRANSIENT_CLASSES = ("08", "40", "53", "57", "58")  # connection, rollback, resources, operator, system
Pool = AsyncConnectionPool[psycopg.AsyncConnection[Any]]


def retryable(error: BaseException) -> bool:
    """True for an outage, a deadlock or a serialisation failure: the same work may succeed later."""
    if isinstance(error, PoolTimeout | ConnectionError | TimeoutError):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_TRANSIENT_CLASSES) or error.sqlstate == "55P03"


async def open_pool(url: str, *, name: str, min_size: int = 1, max_size: int = 8) -> Pool:
    """An open pool; while the server is down this waits with backoff."""
    attempt = 0
    while True:
        pool: Pool = lazy_pool(url, name=name, min_size=min_size, max_size=max_size)
        try:
            await pool.open(wait=True, timeout=10)
            return pool
        except (PoolTimeout, psycopg.OperationalError) as error:
            await pool.close()
            pause = Backoff(cap=5.0).delay(attempt)
            attempt += 1
            _log.warning("Postgres does not answer (%s), next try in %.1f s", error, pause)
            await asyncio.sleep(pause)


def lazy_pool(url: str, *, name: str, min_size: int = 1, max_size: int = 8) -> Pool:
    """A pool that is not open yet: for processes that must start while Postgres is down."""
    return AsyncConnectionPool(
        url,
        min_size=min_size,
        max_size=max_size,
        name=name,
        open=False,
        timeout=5,
        reconnect_timeout=0,
        kwargs={"application_name": name, "connect_timeout": 3},
        check=AsyncConnectionPool.check_connection,
    )


async def pool_fault(pool: Pool) -> str | None:
    """Why the pool gives no connection now, in one sentence; None when it does."""
    try:
        async with pool.connection(timeout=2) as connection:
            await connection.execute("SELECT 1")
    except (psycopg.Error, PoolTimeout) as error:
        return f"Postgres does not answer: {str(error).strip() or type(error).__name__}"
    return None
