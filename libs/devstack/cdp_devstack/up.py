"""`cdp up`: options in; the local stack, its tables, every service and the list of addresses out, until Ctrl-C."""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from cdp_devstack import programs
from cdp_devstack.errors import StackError
from cdp_devstack.parts import ALL_PARTS, chosen_port, is_free, without_proxy
from cdp_devstack.process import Command, Process
from cdp_devstack.programs import Program
from cdp_devstack.screen import Screen, addresses
from cdp_devstack.stack import LocalStack
from cdp_devstack.supervisor import Supervisor

FIRST_ADMIN_PORT = 9101
PORT_DEFAULTS = {"CDP_INGEST_PORT": 8000, "CDP_API_PORT": 8001, "CDP_STANDIN_PORT": 8002}
STEPS = {"tables": ("migrate",), "topics": ("topics", "create"), "demo workspace": ("seed",)}
STEP_SECONDS = 180.0


@dataclass(frozen=True)
class Options:
    """What the person asked for."""

    data_dir: Path
    fresh: bool = False
    demo: bool = False
    infrastructure_only: bool = False
    workers: int | None = None


class Up:
    """One run of `cdp up`."""

    def __init__(self, options: Options, console: Console) -> None:
        self._options = options
        self._console = console
        self._screen = Screen(console)
        self._ports = {name: str(chosen_port(name, default)) for name, default in PORT_DEFAULTS.items()}
        self._first_admin_port = chosen_port("CDP_ADMIN_PORT", FIRST_ADMIN_PORT)
        self._stack = LocalStack(options.data_dir, on_progress=self._screen.say, fresh=options.fresh)
        self._logs = self._stack.logs
        self._supervisor = Supervisor(self._stack, self._logs, self._screen.say)
        self._local: list[Program] = []
        self._services: list[Program] = []

    async def run(self) -> None:
        """Start, stay up until a signal, stop. Raises StackError."""
        stop = _signals()
        work = asyncio.create_task(self._work())
        asked = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({work, asked}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            work.cancel()
            asked.cancel()
            results = await asyncio.gather(work, return_exceptions=True)
            await self._stop()
        if isinstance(results[0], Exception):
            raise _told(results[0])

    async def _work(self) -> None:
        with self._screen:
            await self._start()
        self._console.print(addresses(self._stack.started, self._programs, self._ports))
        self._console.print(f"Logs are in {self._logs}. Ctrl-C stops everything and keeps the data.", soft_wrap=True)
        async with asyncio.TaskGroup() as group:
            group.create_task(self._supervisor.watch(self._programs, ALL_PARTS))
            if self._options.demo and self._services:
                group.create_task(self._demo())

    async def _start(self) -> None:
        await self._stack.start()
        if self._options.infrastructure_only:
            return
        for name, arguments in STEPS.items():
            await self._step(name, arguments)
        await _await_free(self._ports.items())
        environment = self._environment()
        self._local = programs.local_processes(environment)
        self._services = programs.services(environment, self._admin_ports())
        await self._supervisor.start(self._local)
        await self._supervisor.start(self._services)

    async def _stop(self) -> None:
        """Services first, then what they talk to."""
        self._console.print("Stopping.")
        await self._supervisor.stop(self._services)
        await self._supervisor.stop(self._local)
        await self._stack.stop()

    async def _step(self, name: str, arguments: tuple[str, ...]) -> None:
        """One command of ours that ends by itself."""
        self._screen.say(name, "preparing")
        step = Process(arguments[0], Command(programs.cdp(*arguments), self._environment()), self._logs / "setup.log")
        step.start()
        try:
            code = await asyncio.to_thread(step.wait, STEP_SECONDS)
        finally:
            step.kill()
        if code != 0:
            fault = f"took more than {STEP_SECONDS:.0f} s" if code is None else "failed"
            said = step.last_words(1)
            raise StackError(f"`cdp {' '.join(arguments)}` {fault} (it said: {said}): see {step.log}.")
        self._screen.say(name, "done")

    async def _demo(self) -> None:
        argv = Command(programs.cdp("demo")).wrapped()
        process = await asyncio.create_subprocess_exec(*argv, env={**os.environ, **self._environment()})
        try:
            await process.wait()
        finally:
            if process.returncode is None:
                process.terminate()
                await process.wait()

    @property
    def _programs(self) -> list[Program]:
        return [*self._local, *self._services]

    def _admin_ports(self) -> list[int]:
        ports = (port for port in range(self._first_admin_port, self._first_admin_port + 400) if is_free(port))
        return [port for port, _ in zip(ports, programs.service_names(), strict=False)]

    def _environment(self) -> dict[str, str]:
        # the one private address that destinations may reach, and only here: the stand-in's
        stand_in = f"127.0.0.1:{self._ports['CDP_STANDIN_PORT']}"
        own = {"CDP_DATA_DIR": str(self._stack.data_dir.path), "CDP_ACTIVATION_ALLOWED_HOSTS": stand_in}
        own |= self._ports | without_proxy()
        if self._options.workers:
            own["CDP_INGEST_WORKERS"] = str(self._options.workers)
        return self._stack.environment | own


async def _await_free(ports: Iterable[tuple[str, str]]) -> None:
    """The ports our services will listen on; what just ended gets a moment to let go of them."""
    for variable, port in ports:
        for attempt in range(50):
            if is_free(int(port)):
                break
            if attempt == 49:
                raise StackError(f"Port {port} is taken by another program: stop that one, or set {variable}.")
            await asyncio.sleep(0.1)


def _signals() -> asyncio.Event:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        loop.add_signal_handler(number, stop.set)
    return stop


def _told(error: BaseException) -> BaseException:
    """The sentence inside an exception group, if there is one."""
    while isinstance(error, BaseExceptionGroup):
        sentences = [inner for inner in error.exceptions if isinstance(inner, StackError | BaseExceptionGroup)]
        error = (sentences or list(error.exceptions))[0]
    return error
