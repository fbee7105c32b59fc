"""Prepared requests -> a closed loop over keep-alive connections: answers per second, in a process of its own."""

import base64
import gc
import itertools
import json
import math
import multiprocessing
import random
import select
import socket
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, TypeVar

T = TypeVar("T")
SEED = 20261120
_LONGEST_ANSWER = 64 * 1024


@dataclass(frozen=True, slots=True)
class Result:
    """What one run of the load gave; ``seconds`` is wall time, ``cpu_seconds`` what giving the load itself cost."""

    answers: int
    failures: int
    seconds: float
    cpu_seconds: float

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


def events(count: int, *, people: int = 20_000, run: int = 0) -> Iterator[dict[str, object]]:
    """Shop events in a reproducible order."""
    chance = random.Random(SEED + run)
    return (event(f"{run}-{number}", chance, people) for number in range(count))


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


class KeptConnection:
    """One keep-alive connection; of an answer it reads as little as tells that it is whole, and whether it is a 200."""

    __slots__ = ("_buffer", "socket")

    def __init__(self, port: int) -> None:
        self.socket = socket.create_connection(("127.0.0.1", port))
        self.socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        self._buffer = b""

    def send(self, request: bytes) -> None:
        """Blocks while the kernel's buffer is full: a gateway that does not read is not offered more."""
        self.socket.sendall(request)

    def answer(self) -> bool | None:
        """Whether the answer that is whole by now was a 200; None when it is not whole yet."""
        data = self.socket.recv(_LONGEST_ANSWER)
        if not data:
            raise ConnectionResetError("the gateway closed a connection under load")
        if self._buffer:
            data, self._buffer = self._buffer + data, b""
        if len(data) < _total(data):
            self._buffer = data
            return None
        return data.startswith(b"HTTP/1.1 200")


def _total(data: bytes) -> int:
    """Bytes of the whole answer, by its Content-Length; one more than there are while the head is not whole."""
    end = data.find(b"\r\n\r\n")
    if end < 0:
        return len(data) + 1
    start = data.lower().index(b"content-length:", 0, end) + 15
    return end + 4 + int(data[start : data.index(b"\r", start)])


def run(port: int, made: Sequence[bytes], seconds: float | None, connections: int) -> Result:
    """Offers as much as is answered for ``seconds`` (None: each request once), from a process of its own."""
    return in_a_process(_run, port, made, seconds, connections)


def in_a_process(function: Callable[..., T], *arguments: Any) -> T:
    """What the function returns in a process of its own."""
    with multiprocessing.get_context("fork").Pool(1) as pool:
        answer = pool.apply(function, arguments)
        pool.close()  # by itself it would be sent SIGTERM, for which whoever asks may have a handler that it inherits
        pool.join()
    return answer


def _run(port: int, made: Sequence[bytes], seconds: float | None, connections: int) -> Result:
    """One request at a time on each connection, the next when the last is answered; at the end all are awaited."""
    gc.freeze()
    opened = {each.socket.fileno(): each for each in (KeptConnection(port) for _ in range(connections))}
    pending = itertools.cycle(made) if seconds is not None else iter(made)
    poll = select.epoll()
    start, used = time.perf_counter(), time.process_time()
    end = math.inf if seconds is None else start + seconds
    waiting = 0
    for number, request in zip(opened, pending, strict=False):
        poll.register(number, select.EPOLLIN)
        opened[number].send(request)
        waiting += 1
    good = bad = 0
    while waiting:
        for number, _ in poll.poll():
            connection = opened[number]
            answered = connection.answer()
            if answered is None:
                continue
            good += answered
            bad += not answered
            request = next(pending, b"") if time.perf_counter() < end else b""
            if request:
                connection.send(request)
            else:
                waiting -= 1
    result = Result(good, bad, time.perf_counter() - start, time.process_time() - used)
    for connection in opened.values():
        connection.socket.close()
    return result
