"""P17: profiles, searches and the dashboard, asked for on a schedule from a million profiles while events come in."""

import asyncio
import json
import random
import time
from collections.abc import Iterable, Iterator
from typing import Any, Final

import psycopg

from bench.answers import require_right_answers
from bench.crowd import PROFILES, insert_profiles
from bench.generator import DEMO, SEED
from bench.openloop import Offered, latencies, percentile
from bench.pipeline import rate
from bench.population import COUNTRIES, KNOWN_EVERY, PLANS, populate
from bench.report import Row
from bench.target import Target, at_most
from bench.whole import Whole
from cdp_analytics_api.adapters.postgres.tokens import NewToken, create_token
from cdp_clickhouse.client import ClickHouse
from cdp_runtime.auth import SCOPES

PER_SECOND, SECONDS, WARM_S, LINES, SHARE = 200, 30, 5, 32, 0.5
MIX: Final = {"get": 0.7, "search": 0.2, "overview": 0.1}
# a token may ask a hundred times a second, so who asks more often has several
TOKENS: Final = tuple(f"bench-reads-{n}" for n in range(4))
_HOW: Final = (
    "{} of 200 requests a second to the front door on a schedule fixed in advance, for 30 s, from the due time to the "
    "whole answer; the workspace has 1,000,000 profiles, and is sent its part of a steady load of 50 % of P5's rate. "
    "Some of each are asked before, and compared with what SQL by hand says"
)
P17_GET = Target(
    "P17 get", "a profile by its user id or email, p99", "ms", release=at_most(10, "ms"), floor=at_most(100, "ms"),
    how=_HOW.format("70 %"),
)  # fmt: skip
P17_SEARCH = Target(
    "P17 search", "a search with two to four conditions, the first 50, p99", "ms", release=at_most(50, "ms"),
    floor=at_most(300, "ms"),
    how=_HOW.format("20 %") + "; some find a few profiles, some more than are counted",
)  # fmt: skip
P17_OVERVIEW = Target(
    "P17 overview", "the dashboard's numbers, p99", "ms", release=at_most(25, "ms"), floor=at_most(200, "ms"),
    how=_HOW.format("10 %"),
)  # fmt: skip
TARGETS: Final = {"get": P17_GET, "search": P17_SEARCH, "overview": P17_OVERVIEW}


def answered(whole: Whole) -> Iterable[Row]:
    """All three rows, of one run."""
    whole.fill()
    load = rate(whole) * SHARE
    if whole.first("a million profiles"):
        _peopled(whole)
    require_right_answers(whole, _somebody, _conditions)
    asked = list(_asked(random.Random(SEED), PER_SECOND * (WARM_S + SECONDS)))
    first = PER_SECOND * WARM_S
    with whole.steady(load) as steady:
        time.sleep(2)  # the load's own start is no steady state
        _offered(whole, asked[:first])
        offered = _offered(whole, asked[first:])
    assert steady.offered.failures == 0, "the gateway refused some of the load"
    for kind, target in TARGETS.items():
        taken = [ms * 1e3 for ms, (one, _) in zip(offered.latencies, asked[first:], strict=True) if one == kind]
        shown = ", ".join(f"p{share * 100:g} {percentile(taken, share):.1f}" for share in (0.5, 0.9, 0.99, 1))
        print(f"  {target.id}: {shown} ms, beside {load:,.0f} events/s", flush=True)
        yield target.row(percentile(taken, 0.99))


def _offered(whole: Whole, asked: list[tuple[str, bytes]]) -> Offered:
    given = latencies(whole.stack.ports["API"], [request for _, request in asked], PER_SECOND, LINES)
    assert given.failures == 0, f"{given.failures} requests were not answered with 200"
    return given


def _peopled(whole: Whole) -> None:
    asyncio.run(_ready(whole))
    whole.rest()


async def _ready(whole: Whole) -> None:
    store = ClickHouse(whole.stack.clickhouse_url, timeout_s=600)
    await asyncio.gather(
        asyncio.to_thread(populate, whole.stack.postgres_url, DEMO.workspace), insert_profiles(store, DEMO.workspace)
    )
    await store.stop()
    async with await psycopg.AsyncConnection.connect(whole.stack.postgres_url) as connection:
        for token in TOKENS:
            await create_token(connection, NewToken(DEMO.workspace, token, token, sorted(SCOPES)))


def _asked(chance: random.Random, count: int) -> Iterator[tuple[str, bytes]]:
    for number in range(count):
        kind = chance.choices(list(MIX), list(MIX.values()))[0]
        token = TOKENS[number % len(TOKENS)]
        if kind == "get":
            yield kind, _request("GET", f"/profiles/{_somebody(chance)}", token)
        elif kind == "search":
            yield kind, _request("POST", "/profiles/search", token, _conditions(chance))
        else:
            yield kind, _request("GET", "/analytics/overview", token)


def _somebody(chance: random.Random) -> str:
    number = chance.randrange(0, PROFILES, KNOWN_EVERY)
    return chance.choice((f"user_id:crowd-{number}", f"email:crowd{number}@example.com"))


def _conditions(chance: random.Random) -> dict[str, Any]:
    country, spent = chance.choice(COUNTRIES), chance.randrange(0, 1900)
    plan = {"plan": chance.choice(PLANS)}
    return chance.choice(
        (
            {"country": country, "attributes": plan, "minLtv": spent, "emailConsent": True},
            {"country": country, "tags": ["vip"], "minLtv": spent},
            {"country": country, "email": f"crowd{chance.randrange(1000, 10_000)}"},
            {"attributes": plan, "minLtv": spent, "maxLtv": spent + 50, "smsConsent": False},
            {"country": country, "emailConsent": True, "smsConsent": False},
        )
    )


def _request(method: str, path: str, token: str, body: dict[str, Any] | None = None) -> bytes:
    data = b"" if body is None else json.dumps(body).encode()
    head = f"{method} /api/cdp{path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Bearer {token}\r\n"
    return f"{head}Content-Type: application/json\r\nContent-Length: {len(data)}\r\n\r\n".encode() + data
