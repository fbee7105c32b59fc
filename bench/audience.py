"""P19: the first load of a large audience -> its pace beside the limit of its destination, and its calls."""

import asyncio
import time
import uuid
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from hashlib import md5
from typing import Any, Final
from uuid import UUID

import psycopg
from faults.stack import HTTP

from bench.crowd import insert
from bench.generator import Tenant
from bench.report import Row
from bench.stages import Spent
from bench.target import Target, share_of_bare, times_bare
from bench.whole import Whole, api, open_workspace
from cdp_activation.standin.app import WEBHOOK_SECRET
from cdp_clickhouse.client import ClickHouse
from cdp_schemas.profiles import profile_ref
from cdp_schemas.tables import PROFILES

MEMBERS, PER_CALL, PER_SECOND = 100_000, 100, 10
LIMIT: Final = PER_CALL * PER_SECOND  # members a second
PATIENCE: Final = 4  # times as long as the limit takes
KEPT: Final = 5_000  # calls that the stand-in remembers
TENANT: Final = Tenant("bench-audience", "bench-audience-write-key", "bench-audience-api-token")


P19 = Target(
    "P19", "first load of an audience; the baseline is the destination's own limit", "members/s",
    release=share_of_bare(0.98, "of the limit"), floor=share_of_bare(0.9, "of the limit"),
    how=f"{MEMBERS:,} members of a segment, a tenth of the goal's million, to a webhook of the stand-in that takes "
    f"{PER_SECOND} calls a second of {PER_CALL} members each; from the request that activates the new audience until "
    "its last member is acknowledged and all are there, without those of the calls that a rested destination takes at "
    "once",
)  # fmt: skip
P19_CALLS = Target(
    "P19 calls", "calls for it; the baseline is the fewest that hold its members", "calls",
    release=times_bare(1.05, "× the fewest"), floor=times_bare(1.2, "× the fewest"),
    how="calls that the stand-in got meanwhile, whatever it answered",
)  # fmt: skip

# both stores compute the same ids
_PEOPLE: Final = """
INSERT INTO identity.profiles
    (workspace_id, profile_id, version, created_at, updated_at, first_seen, last_seen, traits, consent)
SELECT %(workspace)s, md5('member-' || n)::uuid, 1, since, since, since, since,
       jsonb_build_object('email', 'member' || n || '@example.com', 'country', 'GB'), '{}'
FROM generate_series(1, %(count)s) AS n, LATERAL (SELECT now() - (2 + n %% 400) * interval '1 day' AS since) AS x"""
_SHOWN: Final = """
SELECT {workspace:String}, toUUID(lower(hex(MD5(concat('member-', toString(n)))))), 1, 0,
    since, since, since, since, map('user_id', [concat('member-', toString(n))],
        'email', [concat('member', toString(n), '@example.com')],
        'phone', [concat('+4479', leftPad(toString(n), 8, '0'))]),
    concat('{"country":"GB","email":"member', toString(n), '@example.com"}')::JSON(max_dynamic_paths = 256),
    map(), '', 0, 0, 0, NULL, NULL
FROM (SELECT number + 1 AS n, now64(3) - toIntervalDay(2 + n % 400) AS since FROM numbers({count:UInt64}))"""
_ACKNOWLEDGED: Final = """
SELECT count(*), coalesce(extract(epoch FROM max(acknowledged_at)), 0)::float FROM activation.deliveries
WHERE workspace_id = %s AND audience_id = %s AND acknowledged AND NOT pending"""


@dataclass(frozen=True, slots=True)
class FirstLoad:
    """Moments of one first load, in seconds since 1970, and how many calls the destination got."""

    asked: float
    called: float
    acknowledged: float
    calls: int

    @property
    def pace(self) -> float:
        """Members a second, without those that a rested destination takes at once."""
        return (MEMBERS - LIMIT) / (self.acknowledged - self.asked)


def loaded(whole: Whole) -> Iterable[Row]:
    if whole.first("people of an audience"):
        asyncio.run(_populate(whole))
    segment = _segment(whole)
    whole.rest()
    spent = Spent(lambda: whole.pids)
    load = _first_load(whole, segment)
    seconds = spent.seconds()
    used = ", ".join(f"{name} {seconds[name] / MEMBERS * 1e6:.0f}" for name in ("activation", "postgres"))
    print(
        f"  the first call after {load.called - load.asked:.1f} s, the last acknowledged after "
        f"{load.acknowledged - load.asked:.1f} s; CPU per member: {used} µs",
        flush=True,
    )
    yield P19.row(load.pace, LIMIT)
    yield P19_CALLS.row(load.calls, -(-MEMBERS // PER_CALL))


async def _populate(whole: Whole) -> None:
    """The workspace and its people, as its own processes would have written what is read of them here."""
    store = ClickHouse(whole.stack.clickhouse_url, timeout_s=600)
    people = {"workspace": TENANT.workspace, "count": MEMBERS}
    async with await psycopg.AsyncConnection.connect(whole.stack.postgres_url) as connection:
        await open_workspace(connection, TENANT)
        await connection.execute(_PEOPLE, people)
    await show(store, TENANT.workspace, MEMBERS)
    await store.stop()
    async with await psycopg.AsyncConnection.connect(whole.stack.postgres_url, autocommit=True) as connection:
        await connection.execute("VACUUM ANALYZE identity.profiles")


async def show(store: ClickHouse, workspace: str, count: int) -> None:
    """The same people as the recorder would have written them."""
    await insert(store, PROFILES, _SHOWN, {"workspace": workspace, "count": count})


def _segment(whole: Whole) -> str:
    """A segment of all of them, made by the segmenter, which nobody follows yet."""
    rules = {"operator": "AND", "conditions": [{"field": "attributes.country", "operator": "=", "value": "GB"}]}
    draft = {"name": f"members {uuid.uuid4().hex[:8]}", "type": "rule-based", "rules": rules}
    segment: str = _done(whole, "POST", "/segments", json=draft)["id"]

    def members() -> int:
        found = _done(whole, "GET", f"/segments/{segment}")
        return int(found["size"]) if found["status"] == "ready" else 0

    whole.stack.until("the segment has its members", members, lambda count: count == MEMBERS, 300)
    return segment


def _first_load(whole: Whole, segment: str) -> FirstLoad:
    """From activation until everybody is acknowledged; the audience and its destination are gone afterwards."""
    name = uuid.uuid4().hex[:8]
    address = f"http://127.0.0.1:{whole.stack.ports['STANDIN']}"
    settings = {"url": f"{address}/webhook", "batchSize": PER_CALL, "requestsPerSecond": PER_SECOND}
    draft: dict[str, Any] = {
        "name": name,
        "type": "webhook",
        "settings": settings,
        "credentials": {"secret": WEBHOOK_SECRET},
    }
    destination = _done(whole, "POST", "/destinations", json=draft)["id"]
    connections = [{"destinationId": destination}]
    asked = time.time()
    draft = {"name": name, "segmentIds": [segment], "connections": connections}
    audience = _done(whole, "POST", "/audiences", json=draft)["id"]
    _done(whole, "POST", f"/audiences/{audience}/activate", json={"operation": "add"})
    acknowledged = _acknowledged(whole, audience)
    calls = HTTP.get(f"{address}/_standin/calls", params={"limit": KEPT, "target": "webhook"}, timeout=60).json()
    calls = [call for call in calls if call["at"] >= asked]
    taken = sum(call["rows"] for call in calls if call["status"] == 200)
    assert taken == MEMBERS, f"the destination was sent {taken:,} members instead of {MEMBERS:,}"
    there = HTTP.get(f"{address}/_standin/webhook-members", params={"audience": audience}, timeout=60).json()
    require_members(there)
    _done(whole, "DELETE", f"/destinations/{destination}", params={"force": True})
    _done(whole, "DELETE", f"/audiences/{audience}")
    return FirstLoad(asked, min(call["at"] for call in calls), acknowledged, len(calls))


def require_members(there: Sequence[Mapping[str, Any]]) -> None:
    """Raises AssertionError unless the destination has each of the people under an address of their own."""
    named = {(member["profileId"], member["email"]) for member in there}
    expected = {_member(number) for number in range(1, MEMBERS + 1)}
    assert named == expected, f"{len(named - expected):,} strangers are there, {len(expected - named):,} members not"


def _member(number: int) -> tuple[str, str]:
    digits = md5(f"member-{number}".encode(), usedforsecurity=False).hexdigest()  # as both stores compute it
    return profile_ref(UUID(digits)), f"member{number}@example.com"


def _acknowledged(whole: Whole, audience: str) -> float:
    """When the last member was. It is hardly looked for before that can be: each look reads the whole ledger."""
    time.sleep(MEMBERS / LIMIT - 2)

    def look() -> tuple[int, float]:
        with psycopg.connect(whole.stack.postgres_url) as connection:
            count, last = connection.execute(_ACKNOWLEDGED, [TENANT.workspace, audience]).fetchone() or (0, 0.0)
        time.sleep(1)
        return count, last

    seconds = PATIENCE * MEMBERS / LIMIT
    return whole.stack.until("all members are acknowledged", look, lambda found: found[0] == MEMBERS, seconds)[1]


def _done(whole: Whole, method: str, path: str, **options: Any) -> Any:
    """The data of the front door's answer."""
    answer = api(whole.stack, TENANT, method, path, **options)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()["data"]
