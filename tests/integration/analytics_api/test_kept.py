"""What the front door keeps for a time is gone afterwards, of every workspace and in steps; what is younger stays."""

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta

import pytest

from cdp_analytics_api.adapters.postgres import trim
from cdp_analytics_api.adapters.postgres.audit import PostgresAuditLog
from cdp_analytics_api.adapters.postgres.idempotency import PostgresKeptAnswers
from cdp_analytics_api.adapters.postgres.quarantine import PostgresQuarantine
from cdp_analytics_api.housekeeping import QUARANTINED_FOR, Kept
from cdp_analytics_api.ports import AuditEntry, Refused
from cdp_runtime.postgres import Pool, open_pool
from cdp_schemas.events import RefusedEvent

pytestmark = pytest.mark.stack
# long before anything that another test leaves behind
NOW = datetime(2020, 6, 1, tzinfo=UTC)
WORKSPACES = ("kept-a", "kept-b", "kept-c")


@pytest.fixture
async def pool(front_tables: None, postgres_url: str) -> AsyncIterator[Pool]:
    pool = await open_pool(postgres_url, name="test-kept", max_size=2)
    yield pool
    async with pool.connection() as connection:
        for table in ("audit", "quarantine"):
            await connection.execute(f"DELETE FROM front.{table} WHERE workspace_id = ANY(%s)", (list(WORKSPACES),))
    await pool.close()


def kept(pool: Pool, days: int) -> Kept:
    return Kept(PostgresKeptAnswers(pool, pool), PostgresQuarantine(pool, pool), PostgresAuditLog(pool), days)


async def ages(pool: Pool, table: str, time: str) -> set[tuple[str, int]]:
    """Workspace and days of age of each row that is left."""
    query = f"SELECT workspace_id, {time} FROM front.{table} WHERE workspace_id = ANY(%s)"
    async with pool.connection() as connection:
        rows = await (await connection.execute(query, (list(WORKSPACES),))).fetchall()
    return {(workspace, (NOW - at).days) for workspace, at in rows}


async def test_the_audit_is_kept_as_long_as_is_set(pool: Pool, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trim, "STEP", 7)
    log = PostgresAuditLog(pool)
    await log.write(
        [
            AuditEntry(
                workspace, NOW - timedelta(days=day), "r", "t", "GET", "/profiles/{id}", "", "profiles:read", 200
            )
            for workspace in WORKSPACES
            for day in range(20)
        ]
    )
    await kept(pool, 0).forget(NOW)
    assert len(await ages(pool, "audit", "at")) == 60, "0 is for ever"
    await kept(pool, 5).forget(NOW)
    assert await ages(pool, "audit", "at") == {(workspace, day) for workspace in WORKSPACES for day in range(6)}


async def test_quarantined_events_are_kept_as_long_as_their_topic(pool: Pool) -> None:
    days = QUARANTINED_FOR.days
    refused = [
        Refused(
            9,
            100 * number + day,
            RefusedEvent(
                workspace_id=workspace,
                source_id="web",
                stage="accept",
                reason="consent",
                detail="",
                path="",
                message_id=None,
                received_at=NOW - timedelta(days=day),
                raw=b"{}",
            ),
        )
        for number, workspace in enumerate(WORKSPACES)
        for day in (0, days, days + 1)
    ]
    await PostgresQuarantine(pool, pool).take(refused, {})
    await kept(pool, 0).forget(NOW)
    assert await ages(pool, "quarantine", "received_at") == {(w, day) for w in WORKSPACES for day in (0, days)}
