"""The resolver over a real Postgres: who is who, what is known of them, and what becomes of each event."""

from __future__ import annotations

import pytest

from cdp_eventlog.memory import MemoryLog
from cdp_runtime.postgres import Pool
from cdp_schemas.nodes import node_id

from .shop import at, event, identified, moves, outcomes, profiles, refused, resolve

pytestmark = pytest.mark.postgres
ADA = node_id("demo", "user_id", "ada")
PHONE = node_id("demo", "anonymous_id", "phone")


async def test_a_visitor_who_signs_in_becomes_one_profile_with_all_her_events(pool: Pool) -> None:
    log = MemoryLog()
    await resolve(log, pool, event(seconds=1, anonymous_id="phone", message_id="look"))
    assert set(profiles(log)) == {PHONE}
    traits = {"email": "Ada@Example.org", "plan": "free"}
    await resolve(log, pool, event("identify", 2, anonymous_id="phone", user_id="ada", traits=traits, message_id="in"))

    known = profiles(log)
    assert set(known) == {ADA}
    assert known[ADA].identifiers == {"user_id": ["ada"], "anonymous_id": ["phone"], "email": ["ada@example.org"]}
    assert known[ADA].traits == traits
    assert (known[ADA].first_seen, known[ADA].last_seen) == (at(1), at(2))
    assert {name: one.node_id for name, one in identified(log).items()} == {"look": PHONE, "in": ADA}
    assert outcomes(log) == ["stored", "stored"]
    assert {(move.node_id, move.profile_id) for move in moves(log)} == {
        (PHONE, ADA),
        (node_id("demo", "email", "ada@example.org"), ADA),
    }
    assert refused(log) == []
