"""A seed -> the events that every row is measured with, by the data rules; and the HTTP requests that carry them.

People come by Zipf's law over a million of them, most workspaces are small, payloads have a long tail, and some events
are merges, repeats, late or malformed. The same seed and run give the same events but for their times.
"""

import base64
import hashlib
import json
import math
import random
from bisect import bisect
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import accumulate
from typing import Any

SEED = 20261120
PEOPLE, ZIPF = 1_000_000, 1.1
SHARES = (70, 20, 7, 2, 1)  # of the workspaces, in per cent
MEDIAN_BYTES, P99_BYTES, MOST_BYTES = 500, 8_000, 32_000
_REPEATABLE = 1000  # a client repeats what it sent a moment ago
_MALFORMED: tuple[dict[str, Any], ...] = ({"type": "track"}, {"type": "teleport"}, {"type": "identify", "userId": {}})
_CONTEXT = {
    "library": {"name": "analytics.js", "version": "npm:next-1.84.1"},
    "page": {"path": "/lamps/brass", "url": "https://shop.example/lamps/brass"},
    "locale": "en-GB",
}
_WORDS = "lamp brass shade bulb warm light oak desk floor wall ceiling cable switch dimmer linen glass copper".split()

Event = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Mix:
    """Shares of the events that are as named; the others are visits."""

    identify: float = 0.10
    merge: float = 0.02
    order: float = 0.05
    repeat: float = 0.01
    late: float = 0.005
    malformed: float = 0.001
    hot: float = 0.0
    """Of the commonest person, beyond what is theirs anyway."""


RULES = Mix()
ALONE = Mix(malformed=0)  # what comes alone and cannot be taken is answered 400 and not set apart


@dataclass(frozen=True, slots=True)
class Tenant:
    """A workspace and what opens it."""

    workspace: str
    write_key: str
    token: str


DEMO = Tenant("demo", "demo-write-key", "demo-api-token")


@dataclass(frozen=True, slots=True)
class Load:
    """Ready requests, the events in them, and how many of these become new rows: no repeats, nothing malformed."""

    requests: list[bytes]
    events: int
    stored: int


@dataclass(slots=True)
class _Shop:
    """One workspace: its devices that nobody has logged in on yet, and what it sent last."""

    devices: list[tuple[int, str]] = field(default_factory=list)
    sent: list[Event] = field(default_factory=list)
    number: int = 0


class Traffic:
    """An endless stream of events for some workspaces; ``run`` keeps the ids of several streams apart."""

    def __init__(self, tenants: Sequence[Tenant] = (DEMO,), run: int = 0, mix: Mix = RULES, seed: int = SEED) -> None:
        self._chance, self._run, self._mix = random.Random(f"{seed}|{run}"), run, mix
        self._tenants, self._shares = tenants, SHARES[: len(tenants)]
        self._shops = {tenant.workspace: _Shop() for tenant in tenants}
        self.events = self.stored = 0

    def batch(self, size: int, now: datetime) -> tuple[Tenant, list[Event]]:
        """The next events, all of one workspace."""
        tenant = self._chance.choices(self._tenants, self._shares)[0]
        shop = self._shops[tenant.workspace]
        return tenant, [self._event(shop, tenant, now) for _ in range(size)]

    def _event(self, shop: _Shop, tenant: Tenant, now: datetime) -> Event:
        chance, mix = self._chance, self._mix
        self.events += 1
        if shop.sent and chance.random() < mix.repeat:
            return chance.choice(shop.sent)
        shop.number += 1
        who = 0 if mix.hot and chance.random() < mix.hot else _person(chance)
        late = timedelta(days=chance.uniform(1, 20)) if chance.random() < mix.late else timedelta()
        event: Event = {
            "messageId": f"bench-{self._run}-{tenant.workspace}-{shop.number}-{chance.getrandbits(48):x}",
            "anonymousId": f"device-{who}",
            "timestamp": (now - late).isoformat(timespec="milliseconds"),
            "context": _CONTEXT,
        }
        if chance.random() < mix.malformed:
            return event | chance.choice(_MALFORMED)
        event |= self._said(shop, who, event["messageId"])
        _pad(event, chance)
        self.stored += 1
        shop.sent = [*shop.sent[-_REPEATABLE:], event] if len(shop.sent) > 2 * _REPEATABLE else shop.sent
        shop.sent.append(event)
        return event

    def _said(self, shop: _Shop, who: int, number: str) -> Event:
        chance, mix, kind = self._chance, self._mix, self._chance.random()
        if kind < mix.merge and shop.devices:
            owner, device = shop.devices.pop(0)  # whoever has looked around on it logs in: two profiles become one
            return {"type": "identify", "userId": f"user-{owner}", "anonymousId": device, "traits": {"country": "GB"}}
        if (kind := kind - mix.merge) < mix.identify:
            return _identify(chance, who)
        if (kind := kind - mix.identify) < mix.order:
            order = {"order_id": number, "revenue": chance.randrange(100, 30_000) / 100, "currency": "USD"}
            return {"type": "track", "event": "Order Completed", "userId": f"user-{who}", "properties": order}
        visit = {"type": "track", "event": chance.choice(_VISITS), "properties": {
            "product_id": f"LAMP-{chance.randrange(500)}", "price": 89.5, "category": "lamps", "position": 3,
        }}  # fmt: skip
        if kind - mix.order < mix.merge:
            owner = chance.randrange(PEOPLE)  # not by Zipf's law: nobody has thousands of devices
            shop.devices.append((owner, f"device-{owner}-{number}"))
            return visit | {"anonymousId": shop.devices[-1][1]}
        return visit


_COUNTRIES = ("GB", "US", "DE", "FR")
_VISITS = ("Product Viewed", "Product Added", "Product Viewed", "Search Performed")


def made(count: int, batch: int, traffic: Traffic) -> Load:
    """Ready HTTP/1.1 requests of the traffic's next events: single ones to the path of their call, else /v1/batch."""
    now, events, stored = datetime.now(UTC), traffic.events, traffic.stored
    made = []
    for _ in range(count):
        tenant, some = traffic.batch(batch, now)
        if batch == 1:
            made.append(request(f"/v1/{some[0]['type']}", some[0], tenant))
        else:
            made.append(_batch(some, now, tenant))
    return Load(made, traffic.events - events, traffic.stored - stored)


def introductions(tenants: Sequence[Tenant], people: int, batch: int) -> Load:
    """The commonest of the people say who they are, once each: to every workspace by its share of ``people``."""
    chance, now, requests, count = random.Random(f"{SEED}|introductions"), datetime.now(UTC), [], 0
    for tenant, share in zip(tenants, SHARES, strict=False):
        known = people * share // 100
        for first in range(0, known, batch):
            some = [_introduction(chance, tenant, who, now) for who in range(first, min(first + batch, known))]
            requests.append(_batch(some, now, tenant))
        count += known
    chance.shuffle(requests)
    return Load(requests, count, count)


def _introduction(chance: random.Random, tenant: Tenant, who: int, now: datetime) -> Event:
    head = {"messageId": f"bench-hello-{tenant.workspace}-{who}", "anonymousId": f"device-{who}", "context": _CONTEXT}
    event: Event = head | {"timestamp": now.isoformat(timespec="milliseconds")} | _identify(chance, who)
    _pad(event, chance)
    return event


def _identify(chance: random.Random, who: int) -> Event:
    traits = {"email": f"bench{who}@example.com", "plan": chance.choice("abc"), "country": chance.choice(_COUNTRIES)}
    return {"type": "identify", "userId": f"user-{who}", "traits": traits}


def _batch(events: Sequence[Event], now: datetime, tenant: Tenant) -> bytes:
    return request("/v1/batch", {"batch": events, "sentAt": now.isoformat(timespec="milliseconds")}, tenant)


def request(path: str, body: object, tenant: Tenant = DEMO) -> bytes:
    """One request, whole."""
    data = json.dumps(body, separators=(",", ":")).encode()
    key = base64.b64encode(f"{tenant.write_key}:".encode()).decode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {key}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


def dataset(seed: int = SEED, events: int = 5_000) -> str:
    """What tells two generators apart: the hash of a seed's first events at a fixed time."""
    tenants = [Tenant(str(number), "", "") for number in range(len(SHARES))]
    traffic, digest = Traffic(tenants, seed=seed), hashlib.sha256()
    for _ in range(events // 100):
        digest.update(json.dumps(traffic.batch(100, datetime(2026, 1, 1, tzinfo=UTC))[1]).encode())
    return digest.hexdigest()[:16]


def _pad(event: Event, chance: random.Random) -> None:
    """Lengthens the event to a size drawn from a log-normal law with the median and the tail that the rules want."""
    spread = math.log(P99_BYTES / MEDIAN_BYTES) / 2.3263
    wanted = min(MOST_BYTES, int(chance.lognormvariate(math.log(MEDIAN_BYTES), spread)))
    missing = wanted - len(json.dumps(event, separators=(",", ":"))) - len(',"description":""')
    if missing > 0:
        text, start = _text(), chance.randrange(len(_text()) - MOST_BYTES)
        where = "properties" if "properties" in event else "context"
        event[where] = event[where] | {"description": text[start : start + missing]}


@cache
def _text() -> str:
    """Words enough to cut any description from."""
    chance = random.Random(SEED)
    return " ".join(chance.choice(_WORDS) for _ in range(MOST_BYTES // 2))


def _person(chance: random.Random) -> int:
    weights = _weights()
    return bisect(weights, chance.random() * weights[-1])


@cache
def _weights() -> list[float]:
    return list(accumulate((rank + 1) ** -ZIPF for rank in range(PEOPLE)))
