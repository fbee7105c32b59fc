"""Prepared requests -> a closed loop over keep-alive connections: answers per second, in a process of its own."""

import asyncio
import base64
import json
import multiprocessing
import random
import time
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime

SEED = 20261120


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of the load gave; ``seconds`` is wall time."""

    answers: int
    failures: int
    seconds: float

    @property
    def rate(self) -> float:
        return self.answers / self.seconds


def event(number: str, chance: random.Random, people: int) -> dict[str, object]:
    """One shop event of about 570 bytes; people are drawn by Zipf's law (s = 1.1)."""
    who = min(int(chance.paretovariate(0.1 + 1) * 3), people)
    common: dict[str, object] = {
        "messageId": f"bench-{number}-{chance.getrandbits(48):x}",
        "anonymousId": f"bench-device-{who}",
        "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        "context": {
            "library": {"name": "analytics.js", "version": "npm:next-1.84.1"},
            "page": {"path": "/lamps/brass", "url": "https://shop.example/lamps/brass", "title": "Brass desk lamp"},
            "userAgent": "Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 (KHTML, like Gecko) Chrome/140.0 Safari",
            "locale": "en-GB",
        },
    }
    kind = chance.random()
    if kind < 0.10:
        traits = {"email": f"bench{who}@example.com", "plan": chance.choice("abc"), "country": "GB"}
        return {**common, "type": "identify", "userId": f"bench-user-{who}", "traits": traits}
    if kind < 0.15:
        order = {"order_id": f"bench-{number}", "revenue": chance.randrange(100, 30_000) / 100, "currency": "USD"}
        return {
            **common,
            "type": "track",
            "event": "Order Completed",
            "userId": f"bench-user-{who}",
            "properties": order,
        }
    name = chance.choice(("Product Viewed", "Product Added", "Product Viewed", "Search Performed"))
    properties = {"product_id": f"LAMP-{chance.randrange(500)}", "price": 89.5, "category": "lamps", "position": 3}
    return {**common, "type": "track", "event": name, "properties": properties}


def requests(count: int, batch: int, *, people: int = 20_000, run: int = 0) -> list[bytes]:
    """Ready HTTP/1.1 requests: single events to the path of their call, batches to /v1/batch; a run has its own ids."""
    chance = random.Random(SEED + run)
    made = []
    for number in range(count):
        if batch == 1:
            one = event(f"{run}-{number}", chance, people)
            made.append(_request(f"/v1/{one['type']}", json.dumps({**one, "writeKey": "demo-write-key"})))
        else:
            events = [event(f"{run}-{number}-{index}", chance, people) for index in range(batch)]
            made.append(_request("/v1/batch", json.dumps({"batch": events, "sentAt": events[0]["timestamp"]})))
    return made


def _request(path: str, body: str) -> bytes:
    data = body.encode()
    key = base64.b64encode(b"demo-write-key:").decode()
    head = f"POST {path} HTTP/1.1\r\nHost: bench\r\nAuthorization: Basic {key}\r\nContent-Type: application/json\r\n"
    return f"{head}Content-Length: {len(data)}\r\n\r\n".encode() + data


class _Connection(asyncio.Protocol):
    """Sends the next request when the answer to the last one is whole."""

    def __init__(self, work: "_Work") -> None:
        self._work = work
        self._buffer = b""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = transport
        self._next()

    def data_received(self, data: bytes) -> None:
        self._buffer += data
        head, mark, rest = self._buffer.partition(b"\r\n\r\n")
        if not mark:
            return
        lower = head.lower()
        start = lower.index(b"content-length:") + 15
        length = int(lower[start:].split(b"\r\n", 1)[0])
        if len(rest) < length:
            return
        self._buffer = b""
        self._work.answered(head.startswith(b"HTTP/1.1 200"))
        self._next()

    def connection_lost(self, exc: Exception | None) -> None:
        self._work.closed()

    def _next(self) -> None:
        request = self._work.next()
        if request is None:
            self._transport.close()
        else:
            self._transport.write(request)  # type: ignore[attr-defined]


class _Work:
    """What is still to be sent: round and round until the time is up, or each request once when there is none."""

    def __init__(self, made: Sequence[bytes], seconds: float | None, connections: int) -> None:
        self._made, self._position = made, 0
        self._end = None if seconds is None else time.perf_counter() + seconds
        self._open = connections
        self.answers = self.failures = 0
        self.done = asyncio.Event()

    def next(self) -> bytes | None:
        if self._end is not None and time.perf_counter() > self._end:
            return None
        if self._end is None and self._position == len(self._made):
            return None
        request = self._made[self._position % len(self._made)]
        self._position += 1
        return request

    def answered(self, good: bool) -> None:
        self.answers += good
        self.failures += not good

    def closed(self) -> None:
        self._open -= 1
        if self._open == 0:
            self.done.set()


def run(port: int, made: Sequence[bytes], seconds: float | None, connections: int) -> Result:
    """Offers as much as is answered for ``seconds`` (None: each request once), from a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        return pool.apply(_run, (port, made, seconds, connections))


def _run(port: int, made: Sequence[bytes], seconds: float | None, connections: int) -> Result:
    import uvloop

    return uvloop.run(_drive(port, made, seconds, connections))


async def _drive(port: int, made: Sequence[bytes], seconds: float | None, connections: int) -> Result:
    work = _Work(made, seconds, connections)
    loop = asyncio.get_running_loop()
    start = time.perf_counter()
    for _ in range(connections):
        await loop.create_connection(lambda: _Connection(work), "127.0.0.1", port)
    await work.done.wait()
    return Result(work.answers, work.failures, time.perf_counter() - start)
