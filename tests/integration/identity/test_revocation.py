"""A link that a person says is wrong is undone exactly, and never holds again."""

from __future__ import annotations

import pytest

from cdp_eventlog.memory import MemoryLog
from cdp_identity.adapters.postgres import PostgresStore
from cdp_identity.revocation import Revocation, UnknownLinks, revoke_links
from cdp_runtime.clock import SystemClock
from cdp_runtime.postgres import Pool
from cdp_schemas.nodes import node_id

from .shop import EXACT, event, profiles, resolve

pytestmark = pytest.mark.postgres
ADA, BOB, PHONE = (
    node_id("demo", kind, value) for kind, value in [("user_id", "ada"), ("user_id", "bob"), ("anonymous_id", "phone")]
)
WRONG = Revocation("demo", [(min(ADA, PHONE), max(ADA, PHONE))])


def before_the_mistake() -> list:
    order = {"event": "Order Completed", "properties": {"order_id": "o1", "revenue": 5}}
    return [
        event("identify", 1, anonymous_id="phone", traits={"plan": "pro"}, message_id="phone's"),
        event("identify", 1, user_id="ada", traits={"plan": "free"}, message_id="ada's"),
        event(seconds=2, anonymous_id="phone", message_id="order", **order),
    ]


async def golden(pool: Pool) -> dict:
    columns = "profile_id, traits, ltv_minor, order_count, first_seen, created_at IS NOT NULL"
    async with pool.connection() as connection:
        rows = await (await connection.execute(f"SELECT {columns} FROM identity.profiles")).fetchall()
    return {row[0]: row[1:] for row in rows}


async def test_unlinking_restores_what_was(pool: Pool) -> None:
    log = MemoryLog()
    await resolve(log, pool, *before_the_mistake())
    before = await golden(pool)
    assert set(before) == {ADA, PHONE}
    await resolve(log, pool, event(seconds=1.5, user_id="ada", anonymous_id="phone"))
    assert set(await golden(pool)) == {ADA}

    changes = await revoke_links(PostgresStore(pool), EXACT, SystemClock(), WRONG)
    assert await golden(pool) == before
    assert [(move.node_id, move.profile_id, move.reason) for move in changes.moved] == [(PHONE, PHONE, "unmerge")]
    assert {record.profile_id for record in changes.updated} == {ADA, PHONE}
    assert min(record.version for record in changes.updated) > max(p.version for p in profiles(log).values())

    await resolve(log, pool, event(seconds=3, user_id="ada", anonymous_id="phone"))
    assert set(await golden(pool)) == {ADA, PHONE}


async def test_what_the_link_had_kept_apart_may_be_linked_then(pool: Pool) -> None:
    log = MemoryLog()
    await resolve(
        log,
        pool,
        event(seconds=1, user_id="ada", anonymous_id="phone"),
        event(seconds=2, user_id="bob", anonymous_id="phone"),
    )
    changes = await revoke_links(PostgresStore(pool), EXACT, SystemClock(), WRONG)
    assert [(move.node_id, move.profile_id) for move in changes.moved] == [(PHONE, BOB)]
    assert set(await golden(pool)) == {ADA, BOB}


async def test_a_link_that_does_not_hold_cannot_be_revoked(pool: Pool) -> None:
    await resolve(MemoryLog(), pool, event(seconds=1, user_id="ada"), event(seconds=1, anonymous_id="phone"))
    with pytest.raises(UnknownLinks):
        await revoke_links(PostgresStore(pool), EXACT, SystemClock(), WRONG)
