"""A whole Millrace for tests: ``cdp up`` as a user starts it, on free ports and an empty folder."""

import random
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx
import psutil
import pytest
from faults.stack import HTTP

from cdp_devstack.parts import free_ports
from tests.processes import CDP, environment

T = TypeVar("T")
PORTS = ("INGEST", "API", "STANDIN", "KAFKA", "POSTGRES", "CLICKHOUSE", "REDIS")
PROCESSES = ("ingest", "resolver", "recorder", "segmenter", "activation", "analytics-api")


@dataclass
class Millrace:
    """A running stack and the questions that tests ask it."""

    data_dir: Path
    ports: dict[str, int] = field(default_factory=lambda: dict(zip(PORTS, free_ports(len(PORTS)), strict=True)))
    # a killed process leaves its port free for a moment, which another stack on the machine must not take; those of
    # free_ports begin above these
    first_admin_port: int = field(default_factory=lambda: random.SystemRandom().randrange(10_000, 15_000, 10))
    process: subprocess.Popen[bytes] | None = None
    _admin: dict[str, str] = field(default_factory=dict)  # process -> its admin port; it stays over restarts

    @property
    def gateway(self) -> str:
        return f"http://127.0.0.1:{self.ports['INGEST']}"

    @property
    def environment(self) -> dict[str, str]:
        scripts = Path(__file__).parent / "e2e/js/node_modules/@segment/analytics-next/dist/umd"
        return environment(
            **{f"CDP_{name}_PORT": str(port) for name, port in self.ports.items()},
            CDP_ADMIN_PORT=str(self.first_admin_port),
            CDP_DATA_DIR=str(self.data_dir),
            CDP_INGEST_SCRIPTS_DIR=str(scripts),
        )

    @property
    def postgres_url(self) -> str:
        return f"postgresql://cdp:cdp@127.0.0.1:{self.ports['POSTGRES']}/cdp"

    @property
    def clickhouse_url(self) -> str:
        return f"http://default:@127.0.0.1:{self.ports['CLICKHOUSE']}/cdp"

    @property
    def log(self) -> Path:
        return self.data_dir.parent / "up.log"

    def start(self, *arguments: str, seconds: float = 300) -> None:
        """Runs ``cdp up`` until the front door and the gateway are ready."""
        output = self.log.open("ab")
        self.process = subprocess.Popen([CDP, "up", *arguments], env=self.environment, stdout=output, stderr=output)
        self.until("the stack is up", lambda: self._ready(), bool, seconds)

    def stop(self) -> int:
        """Ctrl-C; returns the exit code."""
        assert self.process is not None
        self.process.send_signal(signal.SIGINT)
        try:
            return self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            raise

    def kill(self, name: str) -> int:
        """kill -9 of one process by its name, or of the broker; the supervisor starts it again. Returns the pid."""
        victim = self.find(name)
        victim.send_signal(signal.SIGKILL)
        return int(victim.pid)

    def find(self, name: str) -> psutil.Process:
        """The process of a service (``cdp run NAME``) or of an infrastructure part."""
        assert self.process is not None
        mark = {"kafka": "kafka.Kafka", "clickhouse": "cdp_devstack.clickhouse", "postgres": "postgres"}.get(name)
        for child in psutil.Process(self.process.pid).children(recursive=True):
            try:
                command = child.cmdline()
            except psutil.Error:
                continue
            joined = " ".join(command)
            if (mark and mark in joined) or (mark is None and joined.endswith(f"cdp run {name}")):
                return child
        raise AssertionError(f"no process {name} runs")

    def all_ready(self, seconds: float = 240) -> None:
        """Returns when every process says so on its admin port."""
        for name in PROCESSES:
            self.until(f"{name} is ready", lambda name=name: self._is_ready(name), bool, seconds)  # type: ignore[misc]

    def _is_ready(self, name: str) -> bool:
        if name not in self._admin:
            self._admin[name] = self.find(name).environ()["CDP_ADMIN_PORT"]
        return HTTP.get(f"http://127.0.0.1:{self._admin[name]}/readyz", timeout=2).is_success

    def api(self, method: str, path: str, **options: Any) -> httpx.Response:
        headers = {"Authorization": "Bearer demo-api-token", **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self.ports['API']}/api/cdp{path}"
        return HTTP.request(method, url, headers=headers, timeout=15, **options)

    def data(self, path: str, **query: Any) -> Any:
        """The ``data`` of a GET. Raises for an error answer."""
        answer = self.api("GET", path, params=query)
        assert answer.is_success, f"GET {path}: {answer.status_code} {answer.text}"
        return answer.json()["data"]

    def until(
        self, what: str, ask: Callable[[], T], good: Callable[[T], bool], seconds: float = 60, every: float = 0.2
    ) -> T:
        """Asks until the answer is good; fails with the last answer after the deadline."""
        deadline, last = time.monotonic() + seconds, None
        while time.monotonic() < deadline:
            if self.process is not None and self.process.poll() is not None:
                pytest.fail(f"cdp up ended with {self.process.returncode}:\n{self._tail()}", pytrace=False)
            try:
                last = ask()
                if good(last):
                    return last
            except (httpx.HTTPError, psutil.Error, AssertionError, KeyError) as error:
                last = error  # type: ignore[assignment]
            time.sleep(every)
        pytest.fail(f"not within {seconds:.0f} s: {what}; last seen: {last}\n{self._tail()}", pytrace=False)

    def profile(self, ref: str, good: Callable[[Any], bool] = lambda _: True, seconds: float = 60) -> Any:
        return self.until(f"profile {ref}", lambda: self.data(f"/profiles/{ref}"), good, seconds)

    def _ready(self) -> bool:
        health = self.api("GET", "/health")
        gateway = HTTP.get(f"{self.gateway}/health", timeout=2)
        return (
            health.is_success
            and gateway.status_code < 500
            and "Ctrl-C stops everything" in self.log.read_text(errors="replace")
        )

    def _tail(self) -> str:
        return self.log.read_text(errors="replace")[-3000:] if self.log.exists() else ""


@pytest.fixture(scope="session")
def millrace() -> Iterator[Millrace]:
    """One whole stack for the session; tests use ids of their own."""
    folder = Path(tempfile.mkdtemp(prefix="millrace-e2e-"))
    running = Millrace(folder / "data")
    try:
        running.start()
        yield running
    finally:
        if running.process is not None and running.process.poll() is None:
            running.stop()
        shutil.rmtree(folder, ignore_errors=True)
