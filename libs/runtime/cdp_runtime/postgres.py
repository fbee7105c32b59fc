"""Postgres URL -> pools that wait for the server instead of failing, the front door's confined to one workspace."""

import asyncio
import json
import logging
import select
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any, Final
from weakref import WeakKeyDictionary

import psycopg
from psycopg import sql
from psycopg.conninfo import conninfo_to_dict
from psycopg.types.json import set_json_loads
from psycopg_pool import AsyncConnectionPool, PoolTimeout
from pydantic_core import from_json

from cdp_runtime.backoff import Backoff
from cdp_runtime.row_security import FRONT_DOOR_ROLE, WORKSPACE_SETTING
from cdp_runtime.tenancy import present_workspace

_log = logging.getLogger(__name__)
# whose machine or network is gone says nothing: noticed within 20 seconds, where Linux alone takes two hours
_NOTICING: Final = {"keepalives_idle": 5, "keepalives_interval": 5, "keepalives_count": 3, "tcp_user_timeout": 20_000}
# the same the other way round: the server would keep the locks of a process that is gone
_BE_NOTICED: Final = """
SELECT set_config(name, value, false) FROM (VALUES ('tcp_keepalives_idle', '5'), ('tcp_keepalives_interval', '5'),
    ('tcp_keepalives_count', '3'), ('tcp_user_timeout', '20000')) AS t (name, value)"""
_HANGS_AFTER: Final = 5.0  # seconds
# on a server that only reads, as a standby does until it is promoted; ended as idle within its transaction; no lock
_TRANSIENT_STATES = ("25006", "25P03", "55P03")
_TRANSIENT_CLASSES = ("08", "40", "53", "57", "58")  # connection, rollback, resources, operator, system
_CONFINE: Final = sql.SQL("SET ROLE {}").format(sql.Identifier(FRONT_DOOR_ROLE))
# what people look up lies in memory. At a disk's prices the planner would rather read a hundred thousand entries of a
# second index than some hundred pages, which takes ten times as long
_PRICE_PAGES: Final = """
SELECT set_config(name, '0.1', false) FROM (VALUES ('seq_page_cost'), ('random_page_cost')) AS t (name)"""
_SPEAK_FOR: Final = f"SELECT set_config('{WORKSPACE_SETTING}', %s, true)"
_SPEAK_FROM_NOW_ON: Final = f"SELECT set_config('{WORKSPACE_SETTING}', %s, false)"
Connection = psycopg.AsyncConnection[Any]
Pool = AsyncConnectionPool[Connection]
# for whom the connections of statement pools speak until they are told otherwise
_spokesmen: WeakKeyDictionary[Connection, str] = WeakKeyDictionary()


class _StatementPool(AsyncConnectionPool[Connection]):
    """Gives connections without committing for who gives them back: each statement has been committed."""

    @asynccontextmanager
    async def connection(self, timeout: float | None = None) -> AsyncIterator[Connection]:
        connection = await self.getconn(timeout)
        try:
            yield connection
        finally:
            await self.putconn(connection)


def retryable(error: BaseException) -> bool:
    """True for an outage, a deadlock, a serialisation failure or a pause too long for the server: the same work may
    succeed later."""
    if isinstance(error, PoolTimeout | ConnectionError | TimeoutError):
        return True
    if not isinstance(error, psycopg.Error):
        return False
    if error.sqlstate is None:
        return isinstance(error, psycopg.OperationalError | psycopg.InterfaceError)
    return error.sqlstate.startswith(_TRANSIENT_CLASSES) or error.sqlstate in _TRANSIENT_STATES


def silence(error: BaseException) -> str:
    """For the reader, that Postgres cannot be asked and why."""
    return f"Postgres does not answer: {str(error).strip() or type(error).__name__}"


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
        except BaseException:
            # nobody else can close it, and its workers outlive the one cancellation that they get when the process ends
            await pool.close()
            raise


def lazy_pool(url: str, *, name: str, min_size: int = 1, max_size: int = 8) -> Pool:
    """A pool that is not open yet: for processes that must start while Postgres is down."""
    return AsyncConnectionPool(
        url,
        min_size=min_size,
        max_size=max_size,
        name=name,
        configure=_be_noticed,
        check=AsyncConnectionPool.check_connection,
        **_patience(url, name),
    )


def front_door_pool(url: str, *, name: str, min_size: int = 1, max_size: int = 8) -> Pool:
    """A lazy pool whose connections see and write the rows of the present workspace alone, and without one nothing.

    ``connection()`` gives a connection inside its one transaction: after a commit in between it sees nothing.
    """
    return AsyncConnectionPool(
        url,
        min_size=min_size,
        max_size=max_size,
        name=name,
        configure=_confine,
        check=_speak_for_workspace,
        **_patience(url, name),
    )


def statement_pool(url: str, *, name: str, max_size: int = 8) -> Pool:
    """A lazy pool for work of one statement each, which is its own transaction and costs one round trip, not four."""
    patience = _patience(url, name, autocommit=True)
    return _StatementPool(
        url, min_size=1, max_size=max_size, name=name, configure=_be_noticed, check=_check_if_spoken_to, **patience
    )


def front_door_statements(url: str, *, name: str, max_size: int = 8) -> Pool:
    """Both: a statement pool that is confined to the present workspace.

    A connection goes on speaking for a workspace, and is told anew when the next to use it is another's.
    """
    return _StatementPool(
        url,
        min_size=1,
        max_size=max_size,
        name=name,
        configure=_confine,
        check=_turn_to_workspace,
        **_patience(url, name, autocommit=True),
    )


async def _be_noticed(connection: Connection) -> None:
    await connection.execute(_BE_NOTICED)
    await connection.commit()


async def _confine(connection: Connection) -> None:
    set_json_loads(_quickly_read, connection)
    await connection.execute(_CONFINE)
    await connection.execute(_PRICE_PAGES)
    await _be_noticed(connection)


async def _speak_for_workspace(connection: Connection) -> None:
    """Begins the transaction and says for whom; that it succeeds is also the check that the connection lives."""
    await connection.execute(_SPEAK_FOR, [present_workspace()])


async def _turn_to_workspace(connection: Connection) -> None:
    await _check_if_spoken_to(connection)
    workspace = present_workspace()
    if _spokesmen.get(connection) != workspace:
        _spokesmen.pop(connection, None)  # a statement that is cancelled may have been heard or not
        await connection.execute(_SPEAK_FROM_NOW_ON, [workspace])
        _spokesmen[connection] = workspace


async def _check_if_spoken_to(connection: Connection) -> None:
    """A server says nothing on an idle connection but that it ends: only where something has arrived is it asked."""
    arrived = select.poll()
    arrived.register(connection.fileno(), select.POLLIN)
    if arrived.poll(0):
        await AsyncConnectionPool.check_connection(connection)


def _quickly_read(text: str | bytes) -> Any:
    """A page of profiles has 150 JSON values, nearly all small: the standard library takes five times as long."""
    try:
        return from_json(text)
    except ValueError:  # nested deeper than 200 levels
        return json.loads(text)


async def lone_session(url: str, *, name: str) -> Connection:
    """A connection of its own, for what lives as long as it does: a lock. Raises psycopg.OperationalError."""
    connection = await psycopg.AsyncConnection.connect(url, autocommit=True, **_connecting(url, name))
    await _be_noticed(connection)
    return connection


def _patience(url: str, name: str, *, autocommit: bool = False) -> dict[str, Any]:
    connecting = {**_connecting(url, name), "autocommit": autocommit}
    return {"open": False, "timeout": 5, "reconnect_timeout": 0, "kwargs": connecting}


def _connecting(url: str, name: str) -> dict[str, Any]:
    """Beside what the URL says; what it says itself holds."""
    said = conninfo_to_dict(url)
    noticing = {option: value for option, value in _NOTICING.items() if option not in said}
    return {"application_name": name, "connect_timeout": 3, **noticing}


async def pool_fault(pool: Pool) -> str | None:
    """Why the pool gives no connection now, in one sentence; None when it does."""
    try:
        async with asyncio.timeout(_HANGS_AFTER), pool.connection(timeout=2) as connection:
            await connection.execute("SELECT 1")
    except TimeoutError:
        return f"Postgres does not answer: nothing came within {_HANGS_AFTER:.0f} seconds"
    except (psycopg.Error, PoolTimeout) as error:
        return silence(error)
    return None
