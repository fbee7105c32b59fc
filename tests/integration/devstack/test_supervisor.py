"""The supervisor with real small programs: readiness, restarts, patience, stopping."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from pathlib import Path
from types import SimpleNamespace

import psutil
import pytest

from cdp_devstack import supervisor as supervisor_module
from cdp_devstack.errors import StackError
from cdp_devstack.parts import Ports, free_ports
from cdp_devstack.process import Command
from cdp_devstack.programs import Program
from cdp_devstack.stack import LocalStack
from cdp_devstack.supervisor import Supervisor

pytestmark = pytest.mark.stack

SERVES = """
import http.server, signal, sys
signal.signal(signal.SIGTERM, lambda *_: sys.exit(0))
class Ready(http.server.BaseHTTPRequestHandler):
    def do_GET(self):
        self.send_response(200 if self.path == "/readyz" else 404)
        self.end_headers()
    def log_message(self, *_): pass
http.server.HTTPServer(("127.0.0.1", int(sys.argv[1])), Ready).serve_forever()
"""


def serving(name: str = "serving") -> Program:
    port = free_ports(1)[0]
    return Program(name, Command([sys.executable, "-c", SERVES, str(port)]), port)


def new_supervisor(tmp_path: Path, said: list[str]) -> Supervisor:
    stack = LocalStack(tmp_path / "data", parts=frozenset(), ports=Ports.free())
    return Supervisor(stack, tmp_path / "logs", lambda name, state: said.append(f"{name}: {state}"))


async def test_a_killed_program_comes_back_and_stops_when_asked(tmp_path: Path) -> None:
    said: list[str] = []
    supervisor, program = new_supervisor(tmp_path, said), serving()
    await supervisor.start([program])
    watching = asyncio.create_task(supervisor.watch([program], frozenset()))
    first = children_of(program)
    os.kill(first[0].pid, signal.SIGKILL)
    async with asyncio.timeout(20):
        while not (found := children_of(program)) or found == first:
            await asyncio.sleep(0.1)
    watching.cancel()
    await supervisor.stop([program])
    assert "serving: ended with code -9, starting again in 0.25 s" in said
    assert children_of(program) == []


async def test_a_program_that_keeps_ending_is_one_sentence_with_its_last_words(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(supervisor_module, "LONGEST_PAUSE", 0.01)
    program = Program("broken", Command([sys.executable, "-c", "raise SystemExit('no database')"]), free_ports(1)[0])
    with pytest.raises(StackError, match=r"broken ended more than 5 times within a minute \(it said: no database\)"):
        await new_supervisor(tmp_path, []).start([program])


async def test_a_program_that_does_not_want_to_stop_is_killed_with_its_children(tmp_path: Path) -> None:
    stubborn = "import signal, subprocess, time; signal.signal(15, signal.SIG_IGN); subprocess.run(['sleep', '61'])"
    program = Program("stubborn", Command([sys.executable, "-c", stubborn], stop_seconds=0.5))
    supervisor = new_supervisor(tmp_path, [])
    await supervisor.start([program])
    await asyncio.sleep(0.5)
    own = [child for child in psutil.Process().children(recursive=True) if child_line(child) == "sleep 61"]
    await supervisor.stop([program])
    assert own
    _, alive = psutil.wait_procs(own, timeout=3)
    assert alive == []


def children_of(program: Program) -> list[psutil.Process]:
    port = str(program.admin_port)
    return [child for child in psutil.Process().children() if child_line(child).endswith(f" {port}")]


def child_line(child: psutil.Process) -> str:
    try:
        return " ".join(child.cmdline())
    except psutil.Error:
        return ""


async def test_a_full_disk_is_waited_out_however_long(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    said: list[str] = []
    supervisor = new_supervisor(tmp_path, said)
    is_full = True
    monkeypatch.setattr(LocalStack, "has_room", lambda stack, name: not is_full)
    program = Program("fails", Command([sys.executable, "-c", "raise SystemExit(1)"]))
    await supervisor.start([program])
    watching = asyncio.create_task(supervisor.watch([program], frozenset()))
    async with asyncio.timeout(20):
        while said[-1] != "fails: its disk is full: starts again when there is room":
            await asyncio.sleep(0.05)
    await asyncio.sleep(1.0)
    assert said.count("fails: starting") == 1
    is_full = False
    async with asyncio.timeout(20):
        while said[-1] != "fails: starting":
            await asyncio.sleep(0.05)
    watching.cancel()
    await supervisor.stop([program])


def test_a_folder_on_a_full_disk_has_no_room(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    stack = LocalStack(tmp_path, parts=frozenset(), ports=Ports.free())
    (tmp_path / "kafka").mkdir()
    free = {tmp_path / "kafka": 1000, tmp_path: 10**9}
    monkeypatch.setattr("shutil.disk_usage", lambda place: SimpleNamespace(free=free[place]))
    assert not stack.has_room("kafka")
    assert stack.has_room("resolver")
