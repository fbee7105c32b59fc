"""A number of workers -> as many gateway processes on one port, watched and replaced, with their metrics added up."""

import asyncio
import ctypes
import os
import shutil
import signal
import socket
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path
from typing import Final

import httpx
from prometheus_client import CollectorRegistry, Metric, ProcessCollector, generate_latest
from prometheus_client.multiprocess import MultiProcessCollector, mark_process_dead
from prometheus_client.registry import Collector

from cdp_runtime.backoff import Backoff
from cdp_runtime.logs import get_logger
from cdp_runtime.metrics import READY
from cdp_runtime.server import bound

_log = get_logger(__name__)
_DIE_WITH_PARENT = 1  # PR_SET_PDEATHSIG
_LIVED_LONG = 30.0
_ADDED = frozenset({"process_cpu_seconds", "process_resident_memory_bytes", "process_open_fds"})
_SILENT: Final = {"workers": "a worker of the gateway does not answer"}
PORT = "CDP_INGEST_PORT"


class GatewayWorkers:
    """The process that only watches: each worker is a process of its own, and the kernel shares connections out."""

    name = "ingest"

    def __init__(self, host: str, port: int, workers: int) -> None:
        self._host, self._port = host, port
        self._metrics_dir = Path(tempfile.mkdtemp(prefix="cdp-ingest-metrics-"))
        self._workers = [_Worker(number, self._metrics_dir) for number in range(1, workers + 1)]
        self._reserved: socket.socket | None = None
        self._tasks: list[asyncio.Task[None]] = []

    async def start(self) -> None:
        """Holds the port without listening, so that a taken one is told once. Raises PortTaken."""
        if self._port:
            bound(self._host, self._port, variable=PORT, shared=False).close()
        self._reserved = bound(self._host, self._port, variable=PORT, shared=True)
        port = self._reserved.getsockname()[1]
        self._tasks = [asyncio.create_task(worker.run(port)) for worker in self._workers]

    async def run(self) -> None:
        await asyncio.gather(*self._tasks)

    async def stop(self) -> None:
        await asyncio.gather(*(worker.stop() for worker in self._workers))
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
        if self._reserved is not None:
            self._reserved.close()
        shutil.rmtree(self._metrics_dir, ignore_errors=True)

    def faults(self) -> Mapping[str, str]:
        """One working gateway is enough to be ready; while there is none, what they wait for."""
        told = [worker.faults for worker in self._workers]
        return {name: why for faults in told for name, why in faults.items()} if all(told) else {}

    def metrics(self) -> bytes:
        """The sums over all workers, also those that have ended, in the Prometheus text format."""
        registry = CollectorRegistry()
        registry.register(_Summed(self._metrics_dir))
        registry.register(_Taken([os.getpid(), *(worker.pid for worker in self._workers if worker.pid)]))
        return generate_latest(registry)


class _Summed(Collector):
    """What the workers have counted, and whether the gateway is ready: that is said here, also when no worker lives."""

    def __init__(self, metrics_dir: Path) -> None:
        self._metrics_dir = metrics_dir

    def collect(self) -> Iterable[Metric]:
        ready = list(READY.collect())
        names = {metric.name for metric in ready}
        counted: Iterable[Metric] = MultiProcessCollector(  # type: ignore[no-untyped-call]
            None, path=str(self._metrics_dir)
        ).collect()
        return [*ready, *(metric for metric in counted if metric.name not in names)]


class _Taken(Collector):
    """What these processes take of the machine, together: the files of a registry's values do not tell it."""

    def __init__(self, pids: Sequence[int]) -> None:
        self._pids = pids

    def collect(self) -> Iterable[Metric]:
        added: dict[str, Metric] = {}
        for pid in self._pids:
            for metric in ProcessCollector(pid=lambda pid=pid: pid, registry=None).collect():  # type: ignore[misc]
                before = added.get(metric.name)
                if before is not None:
                    pairs = zip(metric.samples, before.samples, strict=True)
                    metric.samples = [one._replace(value=one.value + other.value) for one, other in pairs]
                added[metric.name] = metric
        return [metric for name, metric in added.items() if name in _ADDED]


class _Worker:
    """One gateway process and its successors."""

    def __init__(self, number: int, metrics_dir: Path) -> None:
        self._number, self._metrics_dir = number, metrics_dir
        self._process: asyncio.subprocess.Process | None = None
        self._stopping = False
        self.faults: Mapping[str, str] = _SILENT

    @property
    def pid(self) -> int | None:
        """Of the process that runs now."""
        process = self._process
        return process.pid if process is not None and process.returncode is None else None

    async def run(self, port: int) -> None:
        """Keeps one process alive until :meth:`stop`."""
        attempt = 0
        loop = asyncio.get_running_loop()
        while not self._stopping:
            admin_port = _free_port()
            started = loop.time()
            self._process = await self._spawn(port, admin_port)
            watching = asyncio.create_task(self._watch(admin_port))
            code = await self._process.wait()
            watching.cancel()
            self.faults = _SILENT
            mark_process_dead(self._process.pid, str(self._metrics_dir))  # type: ignore[no-untyped-call]
            if self._stopping:
                return
            attempt = 0 if loop.time() - started > _LIVED_LONG else attempt + 1
            _log.error("worker_ended", worker=self._number, code=code, attempt=attempt)
            await asyncio.sleep(Backoff(base=0.1, cap=5.0).delay(attempt))

    async def stop(self) -> None:
        self._stopping = True
        process = self._process
        if process is None or process.returncode is not None:
            return
        process.terminate()
        try:
            async with asyncio.timeout(28):
                await process.wait()
        except TimeoutError:
            process.kill()

    async def _spawn(self, port: int, admin_port: int) -> asyncio.subprocess.Process:
        environment = {
            **os.environ,
            PORT: str(port),
            "CDP_INGEST_WORKERS": "1",
            "CDP_INGEST_SHARE_PORT": "true",
            "CDP_ADMIN_PORT": str(admin_port),
            "CDP_ADMIN_HOST": "127.0.0.1",
            "PROMETHEUS_MULTIPROC_DIR": str(self._metrics_dir),
        }
        program = str(Path(sys.executable).with_name("cdp"))
        return await asyncio.create_subprocess_exec(program, "run", "ingest", env=environment, preexec_fn=_die_together)

    async def _watch(self, admin_port: int) -> None:
        """Asks the worker every half second whether it is ready; it is on this machine, and behind no proxy."""
        async with httpx.AsyncClient(timeout=2.0, trust_env=False) as client:
            while True:
                try:
                    answer = await client.get(f"http://127.0.0.1:{admin_port}/readyz")
                    self.faults = answer.json()["faults"]
                except (httpx.HTTPError, ValueError, KeyError):
                    self.faults = _SILENT
                await asyncio.sleep(0.5)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port


def _die_together() -> None:
    """Runs in the new process: a worker must not outlive a watcher that was killed. Linux only; elsewhere it may."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(_DIE_WITH_PARENT, signal.SIGTERM)
