"""Memberships of the release that kept a row for each, upgraded and taken back: nothing is lost, nothing is added."""

import asyncio
from typing import Any, Final

import psycopg
from alembic import command
from tests.databases import fresh_database

from cdp_runtime.migrate import alembic_config

_BEFORE: Final = "segmenter_0006"
_SEGMENTS: Final = """
INSERT INTO segmenter.segments (workspace_id, segment_id, name, type, deleted_at)
SELECT w, 'segment-' || n, 'S' || n, 'manual', CASE WHEN n = 3 THEN now() END
FROM unnest(ARRAY['ada', 'bob']) AS w, generate_series(1, 4) AS n
"""
_MEMBERSHIPS: Final = """
INSERT INTO segmenter.memberships
    (workspace_id, segment_id, profile_id, bucket, sequence, segment_version, changed_at)
SELECT w, 'segment-' || s, id, get_byte(uuid_send(id), 8), 1 + (p * s) % 5, 1,
       '2026-01-02 03:04:05.678+00'::timestamptz + p * interval '1 hour'
FROM unnest(ARRAY['ada', 'bob']) AS w, generate_series(1, 3) AS s, generate_series(1, 20) AS p,
     LATERAL (SELECT md5(p::text)::uuid AS id) AS x
WHERE (p + s) % 4 <> 0
"""
_ALL: Final = """
SELECT workspace_id, segment_id, profile_id, bucket, sequence, member, changed_at FROM segmenter.memberships
ORDER BY 1, 2, 3
"""


async def run(url: str, *statements: str) -> list[Any]:
    """The rows of the last one."""
    async with await psycopg.AsyncConnection.connect(url) as connection:
        for statement in statements:
            cursor = await connection.execute(statement.encode())
        return await cursor.fetchall() if cursor.description else []


async def test_memberships_are_the_same_after_the_upgrade_and_after_going_back(postgres_url: str) -> None:
    url = await fresh_database(postgres_url, "segmenter_upgrade")
    config = alembic_config(url)
    await asyncio.to_thread(command.downgrade, config, _BEFORE)
    await run(url, _SEGMENTS, _MEMBERSHIPS)
    before = await run(url, _ALL)
    assert len(before) > 80
    await asyncio.to_thread(command.upgrade, config, "segmenter_0007")
    assert await run(url, _ALL) == before
    (rows,) = await run(
        url, "SELECT count(*), count(DISTINCT (workspace_id, profile_id)) FROM segmenter.profile_segments"
    )
    assert rows[0] == rows[1]
    await asyncio.to_thread(command.downgrade, config, _BEFORE)
    assert await run(url, _ALL) == before
