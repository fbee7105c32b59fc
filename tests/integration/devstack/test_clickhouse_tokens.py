"""Insert tokens: the same block with the same token is stored once, in the table and in every view, over any death."""

from __future__ import annotations

import contextlib
import threading
from collections.abc import Callable, Iterator

import clickhouse_connect
import httpx
import pytest

from cdp_devstack.background import BackgroundStack
from cdp_devstack.parts import Part

pytestmark = pytest.mark.clickhouse

TABLES = [
    "CREATE TABLE took (part UInt32, offset UInt64, kind String) ENGINE = MergeTree ORDER BY (part, offset) "
    "SETTINGS non_replicated_deduplication_window = 1000",
    "CREATE TABLE took_counts (kind String, n UInt64) ENGINE = SummingMergeTree ORDER BY kind "
    "SETTINGS non_replicated_deduplication_window = 1000",
    "CREATE MATERIALIZED VIEW took_view TO took_counts AS SELECT kind, count() AS n FROM took GROUP BY kind",
]


@pytest.fixture
def insert(clickhouse_url: str) -> Iterator[Callable[[str, int, int], None]]:
    client = clickhouse_connect.get_client(dsn=clickhouse_url, autogenerate_session_id=False)
    for statement in TABLES:
        client.command(statement)

    def insert(token: str, start: int, size: int) -> None:
        rows = [[1, offset, "even" if offset % 2 == 0 else "odd"] for offset in range(start, start + size)]
        settings = {"insert_deduplication_token": token, "async_insert": 0}
        client.insert("took", rows, column_names=["part", "offset", "kind"], settings=settings)

    yield insert
    for name in ("took_view", "took_counts", "took"):
        client.command(f"DROP TABLE {name}")
    client.close()


def counted(clickhouse_url: str) -> tuple[int, int, int]:
    """(rows, different offsets, the view's sum)."""
    client = clickhouse_connect.get_client(dsn=clickhouse_url)
    rows, offsets = client.query("SELECT count(), uniqExact(offset) FROM took").first_row
    return rows, offsets, client.query("SELECT sum(n) FROM took_counts").first_row[0]


def test_the_same_token_twice_is_a_no_op_in_the_view_too(
    clickhouse_url: str, insert: Callable[[str, int, int], None]
) -> None:
    for _ in range(3):
        insert("took:1:0-999:g1", 0, 1000)
    insert("took:1:1000-1999:g1", 1000, 1000)
    assert counted(clickhouse_url) == (2000, 2000, 2000)


def test_the_token_is_remembered_over_kill_9(
    clickhouse_url: str, insert: Callable[[str, int, int], None], local_parts: BackgroundStack
) -> None:
    insert("took:1:0-999:g1", 0, 1000)
    local_parts.kill(Part.CLICKHOUSE)
    local_parts.restart(Part.CLICKHOUSE)
    insert("took:1:0-999:g1", 0, 1000)
    assert counted(clickhouse_url) == (1000, 1000, 1000)


def test_kill_9_in_the_middle_of_inserts_leaves_whole_blocks_and_a_retry_completes_them(
    clickhouse_url: str, insert: Callable[[str, int, int], None], local_parts: BackgroundStack
) -> None:
    blocks, size = 60, 500
    for strike in (0.15, 0.4, 0.7):
        threading.Timer(strike, local_parts.kill, [Part.CLICKHOUSE]).start()
        with contextlib.suppress(Exception):
            for block in range(blocks):
                insert(f"block-{block}", block * size, size)
        local_parts.restart(Part.CLICKHOUSE)
        rows, offsets, _ = counted(clickhouse_url)
        assert rows == offsets
        assert rows % size == 0
    for block in range(blocks):
        insert(f"block-{block}", block * size, size)
    assert counted(clickhouse_url) == (blocks * size, blocks * size, blocks * size)


def test_other_requests_do_not_inherit_a_token(clickhouse_url: str, insert: Callable[[str, int, int], None]) -> None:
    insert("one", 0, 1)
    with httpx.Client(base_url=clickhouse_url.rsplit("/", 1)[0], trust_env=False) as client:
        for _ in range(2):
            query = "INSERT INTO cdp.took SELECT 2, rand64(), 'odd'"
            client.post("/", content=query).raise_for_status()
    assert counted(clickhouse_url) == (3, 3, 3)


def test_a_view_that_throws_fails_the_insert_and_a_retry_completes_it(
    clickhouse_url: str, insert: Callable[[str, int, int], None]
) -> None:
    client = clickhouse_connect.get_client(dsn=clickhouse_url, autogenerate_session_id=False)
    client.command(
        "CREATE MATERIALIZED VIEW took_broken TO took_counts AS SELECT kind, toUInt64(throwIf(part > 0)) AS n FROM took"
    )
    try:
        with pytest.raises(clickhouse_connect.driver.exceptions.DatabaseError, match="395"):
            insert("thrown", 0, 10)
    finally:
        client.command("DROP TABLE took_broken")
        client.close()
    insert("thrown", 0, 10)
    assert counted(clickhouse_url) == (10, 10, 10)
