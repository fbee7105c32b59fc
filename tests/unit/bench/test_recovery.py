"""Probes before and after a kill -> the seconds until they are as quick as before."""

import http.server
import math
import threading
from types import SimpleNamespace
from typing import Any

import pytest
from bench import recovery as recovering
from bench.recovery import Point, recovery


def points(slow_until: float, *, last: float = 20.0) -> list[Point]:
    """One every 0.1 s that takes 50 ms; those due from 10 s until then wait for the end of the trouble."""
    made = [number / 10 for number in range(int(last * 10))]
    return [Point(at, 0.05 + (slow_until - at if 10 <= at < slow_until else 0)) for at in made]


def test_it_is_over_with_the_last_slow_probe() -> None:
    """Of 4 s of trouble the last half second is no slower than the floor of half a second."""
    assert 3.4 <= recovery(points(14.0), 10.0) <= 3.8


def test_nothing_noticed_is_no_time() -> None:
    assert recovery(points(10.0), 10.0) == 0


def test_it_is_endless_when_the_last_probe_was_slow() -> None:
    assert recovery([*points(12.0), Point(20.0, math.inf)], 10.0) == math.inf


def test_what_never_came_is_not_made_good_by_what_came_after_it() -> None:
    """An event that was acknowledged and is nowhere is lost, and no recovery."""
    assert recovery([*points(10.0)[:110], Point(11.0, math.inf), *points(10.0)[110:]], 10.0) == math.inf


def test_nothing_asked_after_the_kill_is_no_recovery() -> None:
    with pytest.raises(ValueError, match="no probe after the kill"):
        recovery(points(10.0, last=9.0), 10.0)


async def test_a_front_door_that_never_comes_back_has_not_recovered(monkeypatch: pytest.MonkeyPatch) -> None:
    for name, seconds in (("BEFORE_S", 0.3), ("AFTER_S", 0.3), ("EVERY", 0.05), ("ANSWERED_S", 0.3)):
        monkeypatch.setattr(recovering, name, seconds)
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), _Door)
    threading.Thread(target=server.serve_forever, daemon=True).start()

    def kill(name: str) -> None:
        assert name == "analytics-api"
        server.shutdown()
        server.server_close()

    whole: Any = SimpleNamespace(stack=SimpleNamespace(ports={"API": server.server_port}, kill=kill))
    assert await recovering._door_killed(whole) == math.inf


class _Door(http.server.BaseHTTPRequestHandler):
    def do_GET(self) -> None:
        self.send_response(200)
        self.send_header("content-length", "0")
        self.end_headers()

    def log_message(self, format: str, *args: object) -> None:
        """Nobody reads it."""
