"""What the services bind -> the same values in the server, however long: past what one field of a request may hold."""

from collections.abc import AsyncIterator, Iterable
from typing import Any
from uuid import UUID, uuid4

import pytest

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.errors import StoreRefused
from cdp_clickhouse.statement import Statement

pytestmark = pytest.mark.clickhouse


@pytest.fixture
async def store(clickhouse_url: str) -> AsyncIterator[ClickHouse]:
    store = ClickHouse(clickhouse_url)
    yield store
    await store.stop()


async def sent(store: ClickHouse, kind: str, content: Any) -> Any:
    asked = Statement(f"SELECT {{asked:{kind}}} AS first, {{asked:{kind}}} AS again", {"asked": content})
    (row,) = await store.rows(asked)
    assert row["first"] == row["again"]
    return row["first"]


def long(texts: Iterable[str]) -> list[str]:
    return [text * 1000 for text in texts]


@pytest.mark.parametrize(
    ("kind", "content"),
    [
        ("Array(UUID)", [uuid4() for _ in range(10_000)]),
        ("Array(UUID)", [UUID(int=0), UUID(int=1), UUID(int=1 << 64), *(uuid4() for _ in range(100))]),
        ("Array(UInt32)", [0, 1, 255, 256, 2**32 - 1, *range(100_000)]),
        ("Array(String)", long(f"{number} é'\\\"\n\t{{asked:UUID}}" for number in range(50))),
        ("Array(Float64)", [number + 0.123456789 for number in range(20_000)]),
        ("Array(Array(String))", [long("ab"), *([*"cd"],) * 20_000]),
        ("String", "'\\\0\n\t\b" * 100_000),
        ("String", "жé" * 200_000),
    ],
)
async def test_what_is_bound_may_be_of_any_length(store: ClickHouse, kind: str, content: Any):
    assert await sent(store, kind, content) == content


async def test_a_condition_on_a_long_list_holds_for_its_members_alone(store: ClickHouse):
    ids = [uuid4() for _ in range(8_000)]
    asked = "SELECT {one:UUID} IN {ids:Array(UUID)} AS is_one, {other:UUID} IN {ids:Array(UUID)} AS is_other"
    (row,) = await store.rows(Statement(asked, {"one": ids[-1], "other": uuid4(), "ids": ids}))
    assert (row["is_one"], row["is_other"]) == (1, 0)


async def test_a_statement_too_long_to_be_asked_is_refused_and_no_outage(store: ClickHouse):
    """An outage is waited out, by the segmenter for all workspaces."""
    asked = f"SELECT '{'x' * 200_000}' = {{text:String}} AS same"
    assert await store.rows(Statement(asked, {"text": "x" * 1_000})) == [{"same": 0}]
    with pytest.raises(StoreRefused, match="Max query size exceeded"):
        await store.rows(Statement(asked, {"text": "ж" * 50_000}))
    assert store.fault() is None


async def test_a_long_list_takes_away_what_it_names_and_nothing_else(store: ClickHouse):
    ids = [uuid4() for _ in range(400)]
    await store.command(Statement("CREATE OR REPLACE TABLE taken (id UUID, at UInt32) ENGINE = MergeTree ORDER BY id"))
    await store.insert("taken", ("id", "at"), (ids, range(400)), token=None)
    gone = {"ids": ids[:300], "versions": list(range(300, 600))}
    one_by_one = "id IN {ids:Array(UUID)} AND at < {versions:Array(UInt64)}[indexOf({ids:Array(UUID)}, id)]"
    await store.command(Statement(f"DELETE FROM taken WHERE {one_by_one}", gone))
    rows = await store.rows(Statement("SELECT id FROM taken"))
    await store.command(Statement("DROP TABLE taken"))
    assert {row["id"] for row in rows} == set(ids[300:])
