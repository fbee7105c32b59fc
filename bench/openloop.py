"""Requests and a schedule fixed in advance -> each sent when it is due, its latency counted from that moment.

A slow gateway makes requests wait and not the load smaller, so what a user waits for is what is measured.
"""

import asyncio
import math
import multiprocessing
import select
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from multiprocessing.connection import Connection
from multiprocessing.process import BaseProcess
from types import TracebackType
from typing import Any

import uvloop

from bench.generator import Traffic, request
from bench.load import KeptConnection, in_a_process

_fork = multiprocessing.get_context("fork")
_RETRY_S = 0.1
_LAST_ANSWERS_S = 60.0


@dataclass(slots=True)
class Offered:
    """Seconds from when each request was due to its answer, and how many were not answered 200."""

    latencies: list[float] = field(default_factory=list)
    failures: int = 0
    events: int = 0
    stored: int = 0


def due(start: float, rate: float) -> Iterator[float]:
    """When each request is to be sent: computed from its number, so that no delay moves what follows."""
    number = 0
    while True:
        yield start + number / rate
        number += 1


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that ``share`` of all do not exceed (nearest rank). Raises ValueError for none."""
    if not values:
        raise ValueError("a percentile of nothing")
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


async def drive(port: int, requests: Iterator[bytes], rate: float, over: Callable[[], bool], lines: int) -> Offered:
    """Sends ``rate`` requests a second over ``lines`` connections until ``over`` or there are no more."""
    offered, waiting = Offered(), asyncio.Queue[tuple[float, bytes] | None]()
    workers = [asyncio.create_task(_worker(port, waiting, offered)) for _ in range(lines)]
    for at in due(time.perf_counter(), rate):
        if (pause := at - time.perf_counter()) > 0:
            await asyncio.sleep(pause)
        elif waiting.qsize() > lines:
            await asyncio.sleep(0)  # late already: the answers must not wait for it too
        if over() or (one := next(requests, None)) is None:  # what is drawn is sent, so it may be counted
            break
        waiting.put_nowait((at, one))
    for _ in workers:
        waiting.put_nowait(None)
    await asyncio.gather(*workers)
    return offered


async def _worker(port: int, waiting: "asyncio.Queue[tuple[float, bytes] | None]", offered: Offered) -> None:
    reader = writer = None
    while (task := await waiting.get()) is not None:
        at, one = task
        try:
            if writer is None or reader is None:
                reader, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.write(one)
            head = await reader.readuntil(b"\r\n\r\n")
            await reader.readexactly(int(head.lower().split(b"content-length:")[1].split(b"\r\n")[0]))
            good = head.startswith(b"HTTP/1.1 200")
        except (OSError, asyncio.IncompleteReadError):
            good, reader, writer = False, None, None
            await asyncio.sleep(_RETRY_S)
        offered.failures += not good
        offered.latencies.append(time.perf_counter() - at)
    if writer is not None:
        writer.close()


def latencies(port: int, requests: Sequence[bytes], rate: float, lines: int) -> Offered:
    """Offers each request once at this rate, from a process of its own that costs a few microseconds a request.

    The latencies are in the order of the requests.
    """
    return in_a_process(_latencies, port, requests, rate, lines)


def _latencies(port: int, requests: Sequence[bytes], rate: float, lines: int) -> Offered:
    """What is due goes out on a connection that waits for no answer; while all of them wait, it is late."""
    idle = [KeptConnection(port) for _ in range(lines)]
    poll = select.epoll()
    for each in idle:
        poll.register(each.socket, select.EPOLLIN)
    asked: dict[int, tuple[int, float, KeptConnection]] = {}
    offered = Offered([math.nan] * len(requests))
    plan = enumerate(zip(due(time.perf_counter(), rate), requests, strict=False))
    upcoming = next(plan, None)
    while upcoming is not None or asked:
        while upcoming is not None and idle and upcoming[1][0] <= time.perf_counter():
            number, (at, one) = upcoming
            line = idle.pop()
            line.send(one)
            asked[line.socket.fileno()] = number, at, line
            upcoming = next(plan, None)
        pause = max(0.0, upcoming[1][0] - time.perf_counter()) if upcoming is not None and idle else None
        for ready, _ in poll.poll(pause):
            number, at, line = asked[ready]
            if (good := line.answer()) is None:
                continue
            offered.latencies[number] = time.perf_counter() - at
            offered.failures += not good
            idle.append(asked.pop(ready)[2])
    return offered


class Steady:
    """A context in which a process of its own sends traffic at a fixed rate; afterwards it says what it sent."""

    def __init__(self, port: int, traffic: Traffic, events_per_second: float, batch: int = 100) -> None:
        self._arguments = (port, traffic, events_per_second, batch)
        self._over = _fork.Event()
        self._process: BaseProcess | None = None
        self._answers: Connection[Any, Any] | None = None
        self.offered = Offered()

    def __enter__(self) -> "Steady":
        self._answers, end = _fork.Pipe(duplex=False)
        self._process = _fork.Process(target=_steady, args=(*self._arguments, self._over, end), daemon=True)
        self._process.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        assert self._process is not None and self._answers is not None
        self._over.set()
        try:
            if kind is None:
                self.offered = self._said()
                self._process.join(5)
        finally:
            self._process.kill()

    def _said(self) -> Offered:
        """What was measured beside it was measured beside this. Raises RuntimeError when there was no such load."""
        assert self._answers is not None
        if not self._answers.poll(_LAST_ANSWERS_S):
            raise RuntimeError(f"the steady load had no last answer within {_LAST_ANSWERS_S:.0f} s")
        try:
            offered: Offered = self._answers.recv()
        except EOFError:
            raise RuntimeError("the steady load ended before its time") from None
        return offered


def _steady(port: int, traffic: Traffic, rate: float, batch: int, over: Any, end: Any) -> None:
    offered = uvloop.run(drive(port, _batches(traffic, batch), rate / batch, over.is_set, 8))
    offered.events, offered.stored = traffic.events, traffic.stored
    end.send(offered)


def _batches(traffic: Traffic, size: int) -> Iterator[bytes]:
    """Made one at a time: an hour's events would not fit."""
    while True:
        now = datetime.now(UTC)
        tenant, events = traffic.batch(size, now)
        yield request("/v1/batch", {"batch": events, "sentAt": now.isoformat(timespec="milliseconds")}, tenant)
