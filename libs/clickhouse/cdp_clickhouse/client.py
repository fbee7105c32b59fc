"""Statements and columns -> ClickHouse over HTTP; rows back, or an error that says who must act next."""

import asyncio
import random
from collections import defaultdict
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Any, Final, TypeVar
from urllib.parse import urlsplit

import aiohttp
import clickhouse_connect
from clickhouse_connect.driver import options
from clickhouse_connect.driver.asyncclient import AsyncClient
from clickhouse_connect.driver.exceptions import ClickHouseError
from clickhouse_connect.driver.insert import InsertContext

from cdp_clickhouse.bound import bound
from cdp_clickhouse.errors import StoreRefused, StoreUnavailable, store_error
from cdp_clickhouse.statement import Statement, identifier

T = TypeVar("T")
Settings = Mapping[str, Any]
TIMEOUT_S: Final = 120.0  # of one answer, unless a caller wants another
_FIRST_WAIT_S: Final = 0.2
_LONGEST_WAIT_S: Final = 15.0
_TRANSPORT: Final = (ClickHouseError, aiohttp.ClientError, OSError, asyncio.TimeoutError)
# before its first insert the driver imports each of these that is installed, as all are where chDB is, to see that
# lists are no data frames: two seconds of CPU in which the process answers nobody, and 80 MB that stay
for _library in ("np", "pd", "pd_time_test", "arrow", "pl"):
    setattr(options, _library, None)


class ClickHouse:
    """One server, many concurrent requests; no session, so requests never wait for one another.

    Every call raises StoreUnavailable (try the same again later) or StoreRefused (change the statement).
    Arrays and texts of any length may be bound in what is asked, unless it is longer than 128 KiB itself; in a command
    they travel in the URL.
    """

    def __init__(self, url: str, *, timeout_s: float = TIMEOUT_S, compress: bool | str = "lz4") -> None:
        self._url = url
        self._timeout_s = timeout_s
        self._compress = compress
        self._client: AsyncClient | None = None
        self._connecting = asyncio.Lock()
        self._shapes: dict[tuple[str, tuple[str, ...]], Sequence[Any]] = {}
        self._fault: str | None = "not connected yet"

    async def start(self) -> None:
        """Wait until the server answers, however long; meanwhile ``fault`` says why it does not."""
        wait = _FIRST_WAIT_S
        while True:
            try:
                await self.command(Statement("SELECT 1"))
                return
            except StoreUnavailable:
                await asyncio.sleep(random.uniform(_FIRST_WAIT_S / 2, wait))
                wait = min(wait * 2, _LONGEST_WAIT_S)

    async def stop(self) -> None:
        """Close the connections; a call afterwards opens new ones."""
        client, self._client = self._client, None
        if client is not None:
            await client.close()

    def fault(self) -> str | None:
        """Why the store cannot be used, as of the last call; None when that call was answered."""
        return self._fault

    async def rows(self, statement: Statement, *, settings: Settings | None = None) -> list[dict[str, Any]]:
        """The answer's rows, each column name -> value; DateTime columns with a zone are aware."""
        result = await self._query(statement, settings)
        names: tuple[str, ...] = result.column_names
        return [dict(zip(names, row, strict=True)) for row in result.result_rows]

    async def columns(self, statement: Statement, *, settings: Settings | None = None) -> dict[str, Sequence[Any]]:
        """The answer column by column: column name -> its values in the order of rows.

        ClickHouse names no columns when there are no rows; then every name gives an empty list.
        """
        result = await self._query(statement, settings)
        if not result.row_count:
            return defaultdict(list)
        return dict(zip(result.column_names, result.result_columns, strict=True))

    async def command(self, statement: Statement, *, settings: Settings | None = None) -> Any:
        """Run DDL or a mutation; the single value of an answer that has one."""
        return await self._call(lambda client: client.command(*bound(statement), settings=_plain(settings)))

    async def insert(
        self,
        table: str,
        column_names: Sequence[str],
        columns: Sequence[Sequence[Any]],
        *,
        token: str | None,
        settings: Settings | None = None,
    ) -> None:
        """Insert columns of equal length as one block under a deduplication token.

        Times are int64 ticks of the column's scale, UUIDs ``UUID`` or 128-bit ints. The same token with the same rows
        may be sent again after any failure and lands once, within the table's ``non_replicated_deduplication_window``.
        All rows should lie in one partition of the table: the window counts blocks per partition. Without a token every
        attempt lands.
        """
        if not columns or not len(columns[0]):
            return
        once = {"insert_deduplicate": 0} if token is None else {"insert_deduplication_token": token}
        exact = {**(settings or {}), "async_insert": 0, **once}
        try:
            await self._call(lambda client: self._send(client, table, tuple(column_names), columns, exact))
        except StoreRefused:
            self._shapes.pop((table, tuple(column_names)), None)  # the table may have another shape by now
            raise

    async def _send(
        self,
        client: AsyncClient,
        table: str,
        names: tuple[str, ...],
        columns: Sequence[Sequence[Any]],
        settings: Settings,
    ) -> None:
        types = self._shapes.get((table, names))
        if types is None:
            empty = await client.create_insert_context(table, names, column_oriented=True)
            types = self._shapes[table, names] = empty.column_types
        # one Native block whatever its size: a second block of the same request would be a second chance to differ
        block = InsertContext(
            identifier(table),
            names,
            types,
            columns,
            column_oriented=True,
            settings=dict(settings),
            block_size=len(columns[0]),
        )
        try:
            await client.data_insert(block)
        except (TypeError, ValueError, OverflowError, AttributeError) as error:
            raise StoreRefused(f"the values do not fit the columns of {table}: {error}") from error

    async def _query(self, statement: Statement, settings: Settings | None) -> Any:
        return await self._call(lambda client: client.query(*bound(statement), settings=_plain(settings)))

    async def _call(self, call: Callable[[AsyncClient], Awaitable[T]]) -> T:
        try:
            answer = await call(await self._connected())
        except _TRANSPORT as error:
            translated = store_error(error)
            self._fault = translated.message if isinstance(translated, StoreUnavailable) else None
            raise translated from error
        self._fault = None
        return answer

    async def _connected(self) -> AsyncClient:
        async with self._connecting:
            if self._client is None:
                self._client = await clickhouse_connect.get_async_client(
                    dsn=self._url,
                    interface=urlsplit(self._url).scheme,  # else it speaks TLS on ports 443 and 8443 alone
                    compress=self._compress,
                    autogenerate_session_id=False,
                    connect_timeout=5,
                    send_receive_timeout=self._timeout_s,
                    query_limit=0,
                    tz_mode="aware",
                )
            return self._client


def _plain(settings: Settings | None) -> dict[str, Any] | None:
    return dict(settings) if settings else None
