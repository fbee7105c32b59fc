"""Latency is counted from when a request was due, and delays do not move the schedule."""

import asyncio
import socket
import time
from collections.abc import AsyncIterator
from itertools import islice

import pytest
from bench import openloop
from bench.generator import Traffic
from bench.openloop import Steady, drive, due, latencies, percentile

ANSWER = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok"


def test_the_schedule_is_computed_from_the_number() -> None:
    assert list(islice(due(5.0, 4.0), 4)) == [5.0, 5.25, 5.5, 5.75]


@pytest.mark.parametrize(("share", "found"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1)])
def test_percentiles_are_of_the_nearest_rank(share, found) -> None:
    assert percentile(list(range(100, 0, -1)), share) == found


def test_there_is_no_percentile_of_nothing() -> None:
    with pytest.raises(ValueError, match="nothing"):
        percentile([], 0.5)


@pytest.fixture
async def slow_port() -> AsyncIterator[int]:
    """Of a server that takes 50 ms for each answer."""

    async def slow(reader, writer):
        while await reader.readuntil(b"\r\n\r\n"):
            await asyncio.sleep(0.05)
            writer.write(ANSWER)

    server = await asyncio.start_server(slow, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    yield port
    server.close()


async def test_requests_that_wait_for_a_slow_server_are_slow(slow_port) -> None:
    """One connection, 50 ms an answer, one request every 10 ms: the tenth waits for nine others."""
    offered = await drive(slow_port, iter([b"GET / HTTP/1.1\r\n\r\n"] * 10), 100, lambda: False, lines=1)
    assert offered.failures == 0 and len(offered.latencies) == 10
    assert max(offered.latencies) >= 10 * 0.05 - 9 * 0.01 - 0.001


async def test_a_request_that_finds_every_connection_waiting_is_late(slow_port) -> None:
    """Two connections, 50 ms an answer, one request every 10 ms: the tenth waits for four others on its connection."""
    offered = await asyncio.to_thread(latencies, slow_port, [b"GET / HTTP/1.1\r\n\r\n"] * 10, 100, 2)
    assert offered.failures == 0 and len(offered.latencies) == 10
    assert max(offered.latencies) >= 5 * 0.05 - 9 * 0.01 - 0.001


async def test_what_is_not_answered_is_a_failure_and_the_next_connects_again() -> None:
    seen = []

    async def rude(reader, writer):
        seen.append(await reader.readuntil(b"\r\n\r\n"))
        if len(seen) > 1:
            writer.write(ANSWER)
        writer.close()

    server = await asyncio.start_server(rude, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    offered = await drive(port, iter([b"GET / HTTP/1.1\r\n\r\n"] * 2), 10, lambda: False, lines=1)
    server.close()
    assert (offered.failures, len(offered.latencies)) == (1, 2)


async def test_nothing_is_drawn_that_is_not_sent() -> None:
    """Whoever counts what was drawn counts what was sent."""

    async def quick(reader, writer):
        while await reader.readuntil(b"\r\n\r\n"):
            writer.write(ANSWER)

    server = await asyncio.start_server(quick, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    drawn = (b"GET / HTTP/1.1\r\n\r\n" for _ in range(100))
    offered = await drive(port, drawn, 1000, iter([False, False, False, True]).__next__, lines=1)
    server.close()
    assert (len(offered.latencies), len(list(drawn))) == (3, 97)


def test_a_steady_load_that_was_never_answered_is_no_load_without_failures(monkeypatch: pytest.MonkeyPatch) -> None:
    """What was measured beside it would be the figure of a machine at rest."""
    monkeypatch.setattr(openloop, "_LAST_ANSWERS_S", 0.5)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        port = silent.getsockname()[1]
        with pytest.raises(RuntimeError, match="no last answer within"), Steady(port, Traffic(), 1000):
            time.sleep(0.3)


async def test_a_steady_load_that_ended_early_is_told() -> None:
    async def vague(reader, writer):
        await reader.readuntil(b"\r\n\r\n")
        writer.write(b"HTTP/1.1 200 OK\r\n\r\n")

    def loaded(port: int) -> None:
        with Steady(port, Traffic(), 1000):
            time.sleep(0.5)

    async with await asyncio.start_server(vague, "127.0.0.1", 0) as server:
        with pytest.raises(RuntimeError, match="ended before its time"):
            await asyncio.to_thread(loaded, server.sockets[0].getsockname()[1])
