"""The resolver over a real Postgres: who is who, what is known of them, and what becomes of each event."""

from __future__ import annotations

from collections.abc import Collection, Sequence
from uuid import UUID

import pytest

from cdp_eventlog.log import MessageTooLarge, Outgoing
from cdp_eventlog.memory import MemoryLog
from cdp_identity.adapters.postgres import PostgresTransaction
from cdp_identity.adapters.postgres_sql import ERASE_REST
from cdp_identity.application import Rules
from cdp_identity.revenue import Sum
from cdp_identity.rows import Key
from cdp_runtime.metrics import RESOLVER_UNREAD_AMOUNTS
from cdp_runtime.postgres import Pool
from cdp_runtime.postgres_arrays import arrays, texts, uuids
from cdp_schemas.codec import Codec
from cdp_schemas.consent import PURPOSES_KEPT
from cdp_schemas.events import ReceivedEvent
from cdp_schemas.nodes import node_id
from cdp_schemas.profiles import profile_ref
from cdp_schemas.topics import EVENTS_RECEIVED, PROFILES_UPDATED

from .shop import GUARDS, at, event, identified, moves, outcomes, outgoing, profiles, refused, resolve

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


async def test_two_known_people_on_one_device_stay_two(pool: Pool) -> None:
    log = MemoryLog()
    await resolve(
        log,
        pool,
        event(seconds=1, anonymous_id="phone", user_id="ada"),
        event(seconds=2, anonymous_id="phone", user_id="bob"),
        event(seconds=3, anonymous_id="phone", message_id="nobody"),
    )
    known = profiles(log)
    assert known[ADA].identifiers == {"user_id": ["ada"], "anonymous_id": ["phone"]}
    assert known[node_id("demo", "user_id", "bob")].identifiers == {"user_id": ["bob"]}
    assert identified(log)["nobody"].node_id == PHONE


async def test_a_late_event_with_earlier_evidence_moves_the_device_to_whom_it_belongs(pool: Pool) -> None:
    log = MemoryLog()
    await resolve(log, pool, event(seconds=5, anonymous_id="phone", user_id="bob"))
    await resolve(log, pool, event(seconds=1, anonymous_id="phone", user_id="ada"))
    known = profiles(log)
    assert known[ADA].identifiers == {"user_id": ["ada"], "anonymous_id": ["phone"]}
    assert known[node_id("demo", "user_id", "bob")].identifiers == {"user_id": ["bob"]}
    assert [(move.profile_id, move.reason) for move in moves(log) if move.node_id == PHONE][-1] == (ADA, "unmerge")


async def test_a_chain_of_merges_ends_in_one_profile_that_knows_all_orders_once(pool: Pool) -> None:
    log = MemoryLog()
    order = {"event": "Order Completed", "properties": {"order_id": "o1", "revenue": "59.98"}}
    await resolve(log, pool, event(seconds=1, anonymous_id="a1", **order), event(seconds=1, anonymous_id="a2", **order))
    mail = {"traits": {"email": "ada@shop.io"}}
    await resolve(log, pool, event("identify", 2, anonymous_id="a1", **mail))
    await resolve(log, pool, event("identify", 3, anonymous_id="a2", **mail))
    refund = {"event": "Order Refunded", "properties": {"order_id": "o1", "total": 9.99}}
    await resolve(log, pool, event("identify", 4, user_id="ada", **mail), event(seconds=5, user_id="ada", **refund))
    (ada,) = profiles(log).values()
    assert ada.profile_id == ADA
    assert (ada.revenue.ltv_minor, ada.revenue.refunded_minor, ada.revenue.order_count) == (4999, 999, 1)
    assert ada.identifiers["anonymous_id"] == ["a1", "a2"]


async def test_an_order_more_does_not_read_the_buyers_other_orders_and_a_cancelled_one_does(
    pool: Pool, monkeypatch: pytest.MonkeyPatch
) -> None:
    log, summed = MemoryLog(), list[UUID]()
    sums = PostgresTransaction.sums

    async def noted(self: PostgresTransaction, nodes: Collection[Key]) -> dict[Key, list[Sum]]:
        summed.extend(node for _, node in nodes)
        return await sums(self, nodes)

    def order(seconds: int, number: int, event_name: str = "Order Completed", **more: object) -> Outgoing:
        said = {"order_id": f"o{number}", **more}
        return event(seconds=seconds, user_id="ada", event=event_name, properties=said)

    await resolve(log, pool, order(1, 1, revenue=10), order(2, 2, revenue="20.50"))
    monkeypatch.setattr(PostgresTransaction, "sums", noted)
    await resolve(log, pool, order(3, 3, revenue=5), order(4, 1, "Order Refunded", total=4))
    revenue = profiles(log)[ADA].revenue
    assert (revenue.ltv_minor, revenue.refunded_minor, revenue.order_count) == (3150, 400, 3)
    assert (revenue.first_order_at, revenue.last_order_at, summed) == (at(1), at(3), [])
    await resolve(log, pool, order(5, 3, "Order Cancelled"))
    revenue = profiles(log)[ADA].revenue
    assert (revenue.ltv_minor, revenue.order_count, revenue.last_order_at, summed) == (2650, 2, at(2), [ADA])


async def test_what_an_order_brought_by_the_rules_of_an_earlier_release_is_taken_off_as_it_was_added(
    pool: Pool,
) -> None:
    log = MemoryLog()

    def order(seconds: int, number: int, event_name: str = "Order Completed", **more: object) -> Outgoing:
        return event(seconds=seconds, user_id="ada", event=event_name, properties={"order_id": f"o{number}", **more})

    await resolve(log, pool, order(1, 1, revenue=100), order(2, 2, revenue=50), order(3, 1, "Order Refunded", total=30))
    async with pool.connection() as connection:
        # it counted all of the order as paid back, in the order and in the profile
        await connection.execute(
            "UPDATE identity.orders SET net_minor = 0, refunded_minor = 10000 WHERE order_id = 'o1';"
            "UPDATE identity.profiles SET ltv_minor = 5000, refunded_minor = 10000, by_currency = '{\"USD\": 5000}'"
        )
    unread = RESOLVER_UNREAD_AMOUNTS._value.get()
    await resolve(log, pool, order(4, 1, "Order Refunded", total=-10), order(5, 1, "Order Refunded", total="5,00"))
    revenue = profiles(log)[ADA].revenue
    assert (revenue.ltv_minor, revenue.refunded_minor, revenue.order_count) == (11000, 4000, 2)
    assert RESOLVER_UNREAD_AMOUNTS._value.get() == unread + 1


async def test_consent_after_a_merge_is_the_most_restrictive_until_it_is_given_anew(pool: Pool) -> None:
    log = MemoryLog()

    def says(granted: bool) -> dict[str, object]:
        return {"context": {"consent": {"categoryPreferences": {"ads": granted}}}}

    await resolve(log, pool, event(seconds=1, anonymous_id="phone", **says(False)))
    await resolve(log, pool, event(seconds=2, user_id="ada", **says(True)))
    await resolve(log, pool, event(seconds=3, anonymous_id="phone", user_id="ada"))
    assert profiles(log)[ADA].consent == {"ads": False}
    answer = event("consent", 4, profile_id=profile_ref(ADA), channel="api", properties={"ads": True})
    await resolve(log, pool, answer)
    assert profiles(log)[ADA].consent == {"ads": True}


@pytest.mark.parametrize(
    ("fields", "reason"),
    [
        ({"user_id": "null"}, "no_identifier"),
        ({"profile_id": "profile-1"}, "bad_profile_id"),
        ({"profile_id": profile_ref(node_id("demo", "user_id", "nobody"))}, "unknown_profile"),
        ({"profile_id": profile_ref(node_id("other", "user_id", "ada"))}, "unknown_profile"),
    ],
)
async def test_what_cannot_be_resolved_is_set_apart_and_its_neighbours_are_stored(
    pool: Pool, fields: dict[str, str], reason: str
) -> None:
    log = MemoryLog()
    bad = event(message_id="bad", **fields)
    await resolve(log, pool, event(user_id="ada"), bad, event(user_id="bob"))
    assert outcomes(log) == ["quarantined", "stored", "stored"]
    (letter,) = refused(log)
    assert (letter.stage, letter.reason, letter.message_id) == ("identity", reason, "bad")
    assert Codec(ReceivedEvent).decode(letter.raw) == bad
    # mended and sent again under the same id it is no duplicate
    await resolve(log, pool, event(message_id="bad", user_id="eve"))
    assert identified(log)["bad"].outcome == "stored"


async def test_bytes_that_are_no_event_go_to_the_dead_letters_alone(pool: Pool) -> None:
    log = MemoryLog(partitions=1)
    await log.publish([Outgoing(EVENTS_RECEIVED, b"demo|x", b"{broken"), outgoing(event(user_id="ada"))])
    await resolve(log, pool)
    assert outcomes(log) == ["stored"]
    (letter,) = refused(log)
    assert (letter.workspace_id, letter.reason, letter.raw, letter.received_offset) == (
        "demo",
        "bad_message",
        b"{broken",
        0,
    )


async def test_what_postgres_refuses_is_found_by_halving_the_batch(pool: Pool) -> None:
    log = MemoryLog(partitions=1)
    events = [event("identify", user_id=f"u{number}", traits={"n": number}) for number in range(9)]
    # legal JSON that jsonb does not take; the gateway stops it, a mistake elsewhere might not
    events[4] = event("identify", user_id="u4", traits={"name": "a\u0000b"}, message_id="bad")
    await resolve(log, pool, *events)
    assert outcomes(log) == ["quarantined", *["stored"] * 8]
    assert [(letter.message_id, letter.reason) for letter in refused(log)] == [("bad", "refused_by_store")]
    assert len(profiles(log)) == 8


async def test_an_erased_person_stays_out_until_a_new_event(pool: Pool) -> None:
    log = MemoryLog()
    order = {"event": "Order Completed", "properties": {"order_id": "o1", "revenue": 5}}
    seen = event("identify", 1, anonymous_id="phone", user_id="ada", traits={"email": "ada@shop.io"})
    await resolve(log, pool, seen, event(seconds=2, user_id="ada", **order))
    await resolve(log, pool, event("delete", 10, profile_id=profile_ref(ADA), channel="api", message_id="erase"))
    assert profiles(log) == {}
    assert identified(log)["erase"].outcome == "suppressed"
    erased = {move.node_id: move for move in moves(log) if move.reason == "erased"}
    assert set(erased) == {ADA, PHONE, node_id("demo", "email", "ada@shop.io")}
    assert all(move.at == at(10) and move.profile_id == move.node_id for move in erased.values())

    late = event(seconds=9, anonymous_id="tablet", context={"traits": {"email": "ada@shop.io"}}, message_id="late")
    other = event(seconds=9, anonymous_id="phone", user_id="bob", message_id="other person, same phone")
    gone = event(seconds=9, profile_id=profile_ref(ADA), message_id="by id")
    await resolve(log, pool, late, other, gone)
    outcome = {name: one.outcome for name, one in identified(log).items()}
    assert (outcome["late"], outcome["by id"]) == ("suppressed", "suppressed")
    assert outcome["other person, same phone"] == "stored"
    assert [one.identifiers for one in profiles(log).values()] == [{"user_id": ["bob"]}]

    await resolve(log, pool, event(seconds=11, user_id="ada", anonymous_id="phone"))
    ada = profiles(log)[ADA]
    assert (ada.first_seen, ada.revenue.order_count, ada.traits) == (at(11), 0, {})
    assert ada.identifiers == {"user_id": ["ada"], "anonymous_id": ["phone"]}


async def test_events_around_a_delete_in_one_batch_fall_on_their_side_of_it(pool: Pool) -> None:
    log = MemoryLog(partitions=1)
    await resolve(log, pool, event(seconds=0, user_id="ada"))
    await resolve(
        log,
        pool,
        event("identify", 1, user_id="ada", traits={"plan": "old"}),
        event("delete", 2, profile_id=profile_ref(ADA), channel="api"),
        event("identify", 3, user_id="ada", traits={"name": "new"}),
    )
    assert profiles(log)[ADA].traits == {"name": "new"}


async def test_a_small_move_of_last_seen_writes_nothing_and_a_large_one_does(pool: Pool) -> None:
    log = MemoryLog()
    rules = Rules(GUARDS, least_move=60_000_000)
    await resolve(log, pool, event(seconds=0, user_id="ada"), rules=rules)
    before = len(log.records(PROFILES_UPDATED))
    await resolve(log, pool, event(seconds=59, user_id="ada"), rules=rules)
    # told once more on assignment, not written anew
    assert profiles(log)[ADA].last_seen == at(0)
    await resolve(log, pool, event(seconds=61, user_id="ada"), rules=rules)
    assert profiles(log)[ADA].last_seen == at(61)
    assert len(log.records(PROFILES_UPDATED)) == before + 2


async def test_traits_without_end_are_dropped_beyond_64_kb_and_their_events_stored(pool: Pool) -> None:
    log = MemoryLog()
    many = [
        event("identify", number, user_id="ada", traits={f"t{number}-{part}": "x" * 3000 for part in range(9)})
        for number in range(6)
    ]
    await resolve(log, pool, *many, event("identify", 9, user_id="ada", traits={"t0-0": "changed"}))
    known = profiles(log)[ADA].traits
    assert outcomes(log) == ["stored"] * 7
    assert 50_000 < sum(len(name) + len(value) for name, value in known.items()) <= 64 * 1024
    assert known["t0-0"] == "changed"


async def test_a_golden_record_that_the_log_does_not_take_stops_no_resolver(pool: Pool) -> None:
    """As one that grew before consent had a bound, told again by the next worker."""

    class SmallLog(MemoryLog):
        async def publish(self, messages: Sequence[Outgoing]) -> None:
            if any(len(message.value) > 100_000 for message in messages):
                raise MessageTooLarge("too large")
            await super().publish(messages)

    log = SmallLog()
    await resolve(log, pool, event("identify", user_id="ada", traits={"plan": "pro"}))
    grown = "SELECT jsonb_object_agg(lpad(n::text, 100, 'p'), n > 0) FROM generate_series(0, 2000) AS n"
    async with pool.connection() as connection:
        await connection.execute(f"UPDATE identity.profiles SET version = version + 1000, consent = ({grown})")
    await resolve(log, pool, event(user_id="bob"))
    known = profiles(log)
    assert (known[ADA].traits, len(known[ADA].consent)) == ({"plan": "pro"}, PURPOSES_KEPT)
    assert known[ADA].consent["p" * 99 + "0"] is False
    assert known[node_id("demo", "user_id", "bob")].identifiers == {"user_id": ["bob"]}


async def test_an_erasure_looks_at_its_own_links_and_orders_alone(pool: Pool) -> None:
    """Among millions of links a look at all of them, once for each node, stops the resolver for minutes."""
    links = """
    INSERT INTO identity.links (workspace_id, a, b, first_at, status, message_id, source_id)
    SELECT 'demo', least(x, y)::uuid, greatest(x, y)::uuid, now(), (ARRAY['h', 'r'])[1 + n % 2]::"char", 'm', 's'
    FROM generate_series(1, 20000) AS n, md5('x' || n) AS x, md5('y' || n) AS y"""
    orders = """
    INSERT INTO identity.orders (workspace_id, order_id, node_id, counted)
    SELECT 'demo', 'order-' || n, md5('x' || n)::uuid, n % 2 = 0 FROM generate_series(1, 20000) AS n"""
    nodes = arrays([("demo", PHONE), ("demo", ADA)], texts, uuids)
    async with pool.connection() as connection:
        for crowd in (links, orders, "ANALYZE identity.links, identity.orders"):
            await connection.execute(crowd)
        for statement in (one for one in ERASE_REST if "consents" not in one):
            rows = await connection.execute(f"EXPLAIN {statement}", nodes)
            plan = "\n".join([row[0] async for row in rows])
            assert "Index Cond: ((workspace_id = t.workspace_id) AND" in plan, plan


async def test_identifiers_are_told_in_the_order_of_their_first_times_however_late_these_are_known(pool: Pool) -> None:
    log = MemoryLog()
    seen = [(1, "a@shop.io"), (3, "b@shop.io"), (4, "a@shop.io"), (2, "a@shop.io"), (0.5, None), (0.7, "b@shop.io")]
    for seconds, address in seen:
        context = {"traits": {"email": address}} if address else {}
        await resolve(log, pool, event(seconds=seconds, user_id="ada", context=context))
    assert profiles(log)[ADA].identifiers["email"] == ["b@shop.io", "a@shop.io"]
