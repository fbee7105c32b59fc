"""Whatever is put into an array arrives in Postgres as it is, or is refused as data that no store takes."""

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import psycopg
import pytest

from cdp_runtime import postgres_arrays
from cdp_runtime.postgres_arrays import Kind, array, arrays

pytestmark = pytest.mark.postgres
ID = uuid4()
TEXTS = ["", "a", 'quoted "\\" {b,c}', "NULL", " ž🛒\n", "x" * 100_000]
CASES: list[tuple[str, str, list[Any], list[Any]]] = [
    ("texts", "text", TEXTS, TEXTS),
    ("characters", '"char"', ["h", "r"], ["h", "r"]),
    ("uuids", "uuid", [ID, UUID(int=0)], [ID, UUID(int=0)]),
    ("digests", "uuid", [ID.bytes], [ID]),
    ("smallints", "smallint", [-(2**15), 0, 2**15 - 1], [-(2**15), 0, 2**15 - 1]),
    ("integers", "int", [-(2**31), 2**31 - 1], [-(2**31), 2**31 - 1]),
    ("bigints", "bigint", [-(2**63), 2**63 - 1], [-(2**63), 2**63 - 1]),
    ("booleans", "boolean", [True, False], [True, False]),
    ("octets", "bytea", [b"", b"\0\xff\\x"], [b"", b"\0\xff\\x"]),
    ("documents", "jsonb", [{"a": ["ž", 1.5, None]}, "x"], [{"a": ["ž", 1.5, None]}, "x"]),
]


@pytest.fixture
async def connection(postgres_url: str):
    async with await psycopg.AsyncConnection.connect(postgres_url, autocommit=True) as connection:
        yield connection


async def back(connection: psycopg.AsyncConnection[Any], kind: Kind, type_: str, column: list[Any]) -> list[Any]:
    asked = f"SELECT element FROM unnest(%s::{type_}[]) WITH ORDINALITY AS u(element, at) ORDER BY at"
    return [row[0] async for row in await connection.execute(asked, [array(column, kind)])]


@pytest.mark.parametrize(("kind", "type_", "sent", "there"), CASES)
async def test_an_array_arrives_as_it_is(connection, kind, type_, sent, there):
    column = [*sent, None, *sent]
    assert await back(connection, getattr(postgres_arrays, kind), type_, column) == [*there, None, *there]
    assert await back(connection, getattr(postgres_arrays, kind), type_, []) == []


async def test_moments_are_kept_to_the_microsecond_before_and_after_1970(connection):
    times = [datetime(1969, 12, 31, 23, 59, 59, 999_999, UTC), datetime(2026, 1, 1, 0, 0, 0, 1, UTC)]
    since = [(at - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(microseconds=1) for at in times]
    assert await back(connection, postgres_arrays.times, "timestamptz", times) == times
    assert await back(connection, postgres_arrays.moments, "timestamptz", since) == times


async def test_rows_become_a_column_each(connection):
    columns = arrays([(ID, 1), (ID, None)], postgres_arrays.uuids, postgres_arrays.bigints)
    rows = await connection.execute("SELECT * FROM unnest(%s::uuid[], %s::bigint[])", columns)
    assert await rows.fetchall() == [(ID, 1), (ID, None)]


async def test_what_no_store_takes_is_told_as_wrong_data(connection):
    with pytest.raises(psycopg.DataError):
        await back(connection, postgres_arrays.texts, "text", ["nul \0"])
    with pytest.raises(psycopg.DataError):
        await back(connection, postgres_arrays.documents, "jsonb", [{"nul": "\0"}])
    with pytest.raises(OverflowError):
        array([2**63], postgres_arrays.bigints)
