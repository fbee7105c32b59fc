"""A process says when it is ready, drains when it is told to stop, and fails loudly."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from unittest.mock import AsyncMock

import httpx
import pytest

from cdp_runtime import run
from cdp_runtime.admin import AdminServer
from cdp_runtime.settings import BadSettings, ServiceSettings

# `cdp run` alone lists the services; then one is imported with all that it needs
IMPORTED = """
import sys
from importlib.metadata import entry_points
from cdp_runtime.start import main

name = sys.argv.pop()
try:
    main()
except SystemExit:
    next(iter(entry_points(group="cdp.services", name=name))).load()
    print([one for one, module in sys.modules.items() if module and one.startswith("rich")])
"""


class Working:
    """A service that is ready once told so."""

    name = "working"

    def __init__(self, fails: bool = False, *, drains: bool = True) -> None:
        self.steps: list[str] = []
        self._stop = asyncio.Event()
        self._fails, self._drains = fails, drains

    async def start(self) -> None:
        self.steps.append("start")

    async def run(self) -> None:
        if self._fails:
            raise RuntimeError("a bug")
        await self._stop.wait()
        if not self._drains:
            raise RuntimeError("the last commit was refused")
        self.steps.append("drained")

    async def stop(self) -> None:
        self.steps.append("stop")
        self._stop.set()

    def faults(self) -> Mapping[str, str]:
        return {}


async def test_a_process_drains_on_sigterm() -> None:
    service = Working()
    asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
    assert await run._lifetime(service, ServiceSettings()) == 0
    assert service.steps == ["start", "stop", "drained"]


async def test_a_failure_ends_the_process_with_code_1() -> None:
    service = Working(fails=True)
    assert await run._lifetime(service, ServiceSettings()) == 1
    assert service.steps == ["start", "stop"]


async def test_a_setting_that_shows_itself_wrong_at_the_start_is_one_sentence() -> None:
    service = Working()
    service.start = AsyncMock(side_effect=BadSettings("CDP_X is wrong."))  # type: ignore[method-assign]
    with pytest.raises(BadSettings, match="CDP_X is wrong"):
        await run._lifetime(service, ServiceSettings())
    assert service.steps == ["stop"]


async def test_a_failure_while_it_drains_does_too() -> None:
    service = Working(drains=False)
    asyncio.get_running_loop().call_later(0.1, os.kill, os.getpid(), signal.SIGTERM)
    assert await run._lifetime(service, ServiceSettings()) == 1
    assert service.steps == ["start", "stop"]


_LEAVES_A_THREAD = """
import threading, time
from cdp_runtime import run

class Leaving:
    name = "leaving"
    async def start(self):
        threading.Thread(target=time.sleep, args=(600,)).start()
    async def run(self): pass
    async def stop(self): pass
    def faults(self): return {}

run.build = lambda name: Leaving()
raise SystemExit(run.run("leaving"))
"""


def test_a_thread_that_goes_on_keeps_no_drained_process() -> None:
    done = subprocess.run([sys.executable, "-c", _LEAVES_A_THREAD], capture_output=True, timeout=60, check=False)
    assert done.returncode == 0, done.stderr
    assert b"threads_left" in done.stdout + done.stderr


async def test_readiness_names_the_dependency_that_is_missing() -> None:
    faults = {"kafka": "Kafka at 127.0.0.1:1 does not answer"}
    server = AdminServer("127.0.0.1", 0, lambda: faults)
    port = await server.start()
    async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as http:
        waiting = await http.get("/readyz")
        assert (waiting.status_code, waiting.json()["faults"]) == (503, faults)
        assert "cdp_process_ready 0.0" in (await http.get("/metrics")).text
        faults.clear()
        assert "cdp_process_ready 1.0" in (await http.get("/metrics")).text
        assert (await http.get("/readyz")).status_code == 200
        assert (await http.get("/healthz")).json() == {"status": "ok"}
        assert "cdp_process_ready 1.0" in (await http.get("/metrics")).text
        assert (await http.get("/nothing")).status_code == 404
    await server.stop()


@pytest.mark.parametrize(("host", "asked"), [("::1", "[::1]"), ("::", "127.0.0.1"), ("0.0.0.0", "127.0.0.1")])
async def test_the_admin_port_is_where_the_address_says(host: str, asked: str) -> None:
    server = AdminServer(host, 0, dict)
    try:
        port = await server.start()
    except OSError as error:
        if ":" in host:
            pytest.skip(f"no IPv6 on this machine: {error}")
        raise
    async with httpx.AsyncClient(trust_env=False) as http:
        assert (await http.get(f"http://{asked}:{port}/healthz")).status_code == 200
    await server.stop()


def test_an_unknown_service_is_answered_with_the_names() -> None:
    with pytest.raises(run.UnknownService, match=r"analytics-api, ingest, recorder, resolver, segmenter"):
        run.build("nothing")


@pytest.mark.parametrize("name", run.service_names())
def test_a_service_does_without_what_only_terminals_need(name: str) -> None:
    told = subprocess.run(
        [sys.executable, "-c", IMPORTED, "run", name], capture_output=True, text=True, check=True
    ).stdout
    assert told.splitlines()[-1] == "[]"


@pytest.mark.parametrize(("arguments", "code"), [(["--help"], 0), (["ingest", "twice"], 2)])
def test_the_command_line_of_a_service_explains_itself(arguments: list[str], code: int) -> None:
    command = [sys.executable, "-m", "cdp_runtime.start", "run", *arguments]
    told = subprocess.run(command, capture_output=True, text=True)
    assert (told.returncode, "Traceback" in told.stderr) == (code, False)
    assert "Usage: " in told.stdout + told.stderr
