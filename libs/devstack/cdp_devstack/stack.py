"""The local stack: a data directory in, running Kafka, Postgres, ClickHouse and Redis and their URLs out."""

from __future__ import annotations

import asyncio
import os
import shutil
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from types import TracebackType

from cdp_devstack.clickhouse.part import ClickHouse
from cdp_devstack.datadir import DataDir
from cdp_devstack.errors import StackError
from cdp_devstack.kafka import Kafka
from cdp_devstack.logs import keep_small
from cdp_devstack.parts import ALL_PARTS, URL_VARIABLES, LocalPart, Part, Ports, is_free
from cdp_devstack.postgres import Postgres
from cdp_devstack.process import Process
from cdp_devstack.redis import Redis

READY_SECONDS = 90.0
PORT_SECONDS = 5.0
PROBE_EVERY = 0.1
ROOM_BYTES = 32 * 1024 * 1024  # with less than this no part can be sure to start
ATTEMPTS = 3  # a broker that was just killed may refuse its successor once

Progress = Callable[[Part, str], None]
Recipe = Callable[[Path, int], LocalPart]
RECIPES: Mapping[Part, Recipe] = {
    Part.KAFKA: Kafka,
    Part.POSTGRES: Postgres,
    Part.CLICKHOUSE: ClickHouse,
    Part.REDIS: Redis,
}


def _silent(part: Part, state: str) -> None:
    """The progress of a stack nobody watches."""


class LocalStack:
    """The parts that are not given by their environment variable, each as a child process of this one.

    The thread that runs `start` must live as long as the stack: the kernel ends the children with it.
    """

    def __init__(
        self,
        data_dir: Path,
        *,
        parts: frozenset[Part] = ALL_PARTS,
        ports: Ports | None = None,
        on_progress: Progress = _silent,
        fresh: bool = False,
        recipes: Mapping[Part, Recipe] = RECIPES,
    ) -> None:
        self.data_dir = DataDir(data_dir)
        self.ports = ports or Ports.from_environment()
        self._say = on_progress
        self._given = {part: os.environ[name] for part, name in URL_VARIABLES.items() if os.environ.get(name)}
        self._wanted = parts
        self._fresh = fresh
        self._how = recipes
        self._recipes: dict[Part, LocalPart] = {}
        self._processes: dict[Part, Process] = {}
        self._log_keeper: asyncio.Task[None] | None = None

    async def __aenter__(self) -> LocalStack:
        await self.start()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.stop()

    async def start(self) -> None:
        """Start all parts at the same time and return when each answers; on failure nothing is left running."""
        self.data_dir.acquire()
        if self._fresh:
            self.data_dir.empty()
        self._log_keeper = asyncio.create_task(keep_small(self.logs))
        try:
            async with asyncio.TaskGroup() as group:
                for part in sorted(self._wanted):
                    group.create_task(self.start_part(part))
        except BaseExceptionGroup as errors:
            await self.stop()
            raise _first(errors) from errors
        except BaseException:
            await self.stop()
            raise

    async def start_part(self, part: Part) -> None:
        """Start one part (the data directory must be held) and return when it answers."""
        if part in self._given:
            self._say(part, f"given by {URL_VARIABLES[part]}")  # there may be a password in it
            return
        if part not in self._recipes:
            self._recipes[part] = self._how[part](self.data_dir.path / part.value, self.ports.of(part))
        await self._await_port(part)
        began = time.monotonic()
        for attempt in range(1, ATTEMPTS + 1):
            if await self._run(part, last=attempt == ATTEMPTS):
                notice = self._processes[part].command.notice
                self._say(part, f"ready in {time.monotonic() - began:.1f} s" + (f" ({notice})" if notice else ""))
                return

    async def stop(self) -> None:
        """Stop all parts at the same time and let go of the data directory."""
        await asyncio.gather(*(asyncio.to_thread(process.stop) for process in self._processes.values()))
        self._processes.clear()
        if self._log_keeper:
            self._log_keeper.cancel()
        self.data_dir.release()

    @property
    def logs(self) -> Path:
        """Where each process writes its own; none grows without end while the stack is up."""
        return self.data_dir.path / "logs"

    async def kill(self, part: Part) -> None:
        """kill -9 one part, for fault tests."""
        await asyncio.to_thread(self._processes[part].kill)

    async def restart(self, part: Part) -> None:
        """Stop one part if it still runs, and start it on the same port and data."""
        if process := self._processes.get(part):
            await asyncio.to_thread(process.stop)
        await self.start_part(part)

    def has_room(self, name: str) -> bool:
        """Whether there is space left where a part keeps its data, or a process of ours whatever it keeps."""
        own = self.data_dir.path / name
        place = own if own.is_dir() else self.data_dir.path
        return not place.is_dir() or shutil.disk_usage(place).free >= ROOM_BYTES

    def is_running(self, part: Part) -> bool:
        """Whether its process is there (true for a part that is given)."""
        process = self._processes.get(part)
        return part in self._given or (process is not None and process.is_running)

    def process(self, part: Part) -> Process | None:
        """Its process, unless it is given or not started."""
        return self._processes.get(part)

    @property
    def started(self) -> dict[str, str]:
        """The URLs of the parts that it started itself, by variable."""
        return {URL_VARIABLES[part]: recipe.url for part, recipe in self._recipes.items()}

    @property
    def environment(self) -> dict[str, str]:
        """The variables that tell the services where the started and the given parts are."""
        return self.started | {URL_VARIABLES[part]: url for part, url in self._given.items()}

    async def _run(self, part: Part, *, last: bool) -> bool:
        """One attempt; False when the process ended before it answered."""
        recipe = self._recipes[part]
        self._say(part, "preparing")
        command = await asyncio.to_thread(recipe.prepare)
        process = Process(part.value, command, self.logs / f"{part.value}.log")
        self._processes[part] = process
        process.start()
        self._say(part, command.notice or "starting")
        deadline = time.monotonic() + READY_SECONDS
        while process.is_running and time.monotonic() < deadline:
            if await asyncio.to_thread(recipe.probe):
                await asyncio.to_thread(recipe.finish)
                return True
            await asyncio.sleep(PROBE_EVERY)
        if process.is_running or last:
            await asyncio.to_thread(process.kill)
            raise StackError(_why_not(part, process, full=not self.has_room(part.value)))
        await asyncio.sleep(1)
        return False

    async def _await_port(self, part: Part) -> None:
        """A predecessor that was just killed needs a moment to let go of its port."""
        port = self.ports.of(part)
        deadline = time.monotonic() + PORT_SECONDS
        while not is_free(port):
            if time.monotonic() > deadline:
                raise StackError(
                    f"Port {port} of 127.0.0.1, which {part} needs, is taken by another program: stop that one, or set "
                    f"CDP_{part.value.upper()}_PORT."
                )
            await asyncio.sleep(0.1)


def _why_not(part: Part, process: Process, *, full: bool) -> str:
    if full:
        return f"{part} cannot start, the disk that its data is on is full: make room, then start again."
    state = "ended at once" if process.returncode is not None else f"did not answer within {READY_SECONDS:.0f} s"
    said = process.last_words() or "nothing"
    return f"{part} {state} (it said: {said}): see {process.log}; if its data is damaged, start again with --fresh."


def _first(errors: BaseExceptionGroup[BaseException]) -> BaseException:
    """The error to tell: one that has a sentence before any other."""
    flat = list(_flatten(errors))
    return next((error for error in flat if isinstance(error, StackError)), flat[0])


def _flatten(errors: BaseExceptionGroup[BaseException]) -> list[BaseException]:
    return [
        inner
        for error in errors.exceptions
        for inner in (_flatten(error) if isinstance(error, BaseExceptionGroup) else [error])
    ]
