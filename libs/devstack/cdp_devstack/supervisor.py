"""Keeps our processes running: programs in; restarts with growing pauses out, one sentence when they do not help."""

from __future__ import annotations

import asyncio
import signal
import time
from collections import deque
from collections.abc import Callable
from pathlib import Path

import httpx

from cdp_devstack.errors import StackError
from cdp_devstack.parts import Part
from cdp_devstack.process import Process
from cdp_devstack.programs import Program
from cdp_devstack.stack import LocalStack

LOOK_EVERY = 0.25
READY_SECONDS = 120.0
MOST_RESTARTS = 5
WITHIN_SECONDS = 60.0
SHORTEST_PAUSE = 0.25
LONGEST_PAUSE = 8.0

Say = Callable[[str, str], None]


class Patience:
    """How often one process may end: with every end a longer pause, with too many in a minute none at all."""

    def __init__(self) -> None:
        self._ends: deque[float] = deque()

    def pause(self, now: float) -> float | None:
        """Seconds to wait before the next start; None when it is enough."""
        self._ends.append(now)
        while self._ends[0] < now - WITHIN_SECONDS:
            self._ends.popleft()
        if len(self._ends) > MOST_RESTARTS:
            return None
        return min(LONGEST_PAUSE, float(2 ** (len(self._ends) - 3)))


class Supervisor:
    """Owns the processes of the programs it started, and watches the parts of the stack too."""

    def __init__(self, stack: LocalStack, logs: Path, say: Say) -> None:
        self._stack = stack
        self._logs = logs
        self._say = say
        self._processes: dict[str, Process] = {}
        self._patience: dict[str, Patience] = {}

    async def start(self, programs: list[Program]) -> None:
        """Start all of them, and return when each is ready."""
        for program in programs:
            self._launch(program)
        await asyncio.gather(*(self._until_ready(program) for program in programs))

    async def watch(self, programs: list[Program], parts: frozenset[Part]) -> None:
        """Restart what ends; raises StackError when one ends too often. Runs until cancelled."""
        async with asyncio.TaskGroup() as group:
            for program in programs:
                group.create_task(self._watch_program(program))
            for part in parts:
                group.create_task(self._watch_part(part))

    async def stop(self, programs: list[Program]) -> None:
        """Ask all of them to stop at the same time, and kill those that do not."""
        running = [self._processes.pop(each.name) for each in reversed(programs) if each.name in self._processes]
        await asyncio.gather(*(asyncio.to_thread(process.stop) for process in running))

    def kill(self) -> None:
        """End everything now."""
        for process in self._processes.values():
            process.kill()

    def _launch(self, program: Program) -> Process:
        process = Process(program.name, program.command, self._logs / f"{program.name}.log")
        process.start()
        self._processes[program.name] = process
        self._say(program.name, "starting")
        return process

    async def _until_ready(self, program: Program) -> None:
        began = time.monotonic()
        async with httpx.AsyncClient(trust_env=False, timeout=2) as client:
            while not await _is_ready(client, program):
                process = self._processes[program.name]
                if not process.is_running:
                    await self._again(program, process)
                elif time.monotonic() > began + READY_SECONDS:
                    raise StackError(
                        f"{program.name} was not ready within {READY_SECONDS:.0f} s (it said: "
                        f"{process.last_words(1)}): see {process.log}."
                    )
                await asyncio.sleep(LOOK_EVERY)
        self._say(program.name, f"ready in {time.monotonic() - began:.1f} s")

    async def _watch_program(self, program: Program) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            process = self._processes.get(program.name)
            if process and not process.is_running:
                await self._again(program, process)

    async def _watch_part(self, part: Part) -> None:
        while True:
            await asyncio.sleep(LOOK_EVERY)
            process = self._stack.process(part)
            if process and not process.is_running:
                await self._restart(part, process)

    async def _restart(self, part: Part, process: Process) -> None:
        """A part may end again while it starts; it has its patience before the whole stack is given up."""
        while True:
            await self._wait_before_restart(part.value, process)
            try:
                return await self._stack.restart(part)
            except StackError:
                again = self._stack.process(part)
                if again is None or again.is_running:
                    raise
                process = again

    async def _again(self, program: Program, process: Process) -> None:
        await self._wait_before_restart(program.name, process)
        self._launch(program)

    async def _wait_before_restart(self, name: str, process: Process) -> None:
        if await self._waited_for_room(name):
            return
        if process.returncode == -signal.SIGKILL:
            # somebody else's doing, not a fault that would repeat itself: no reason to give up
            pause: float | None = SHORTEST_PAUSE
        else:
            pause = self._patience.setdefault(name, Patience()).pause(time.monotonic())
        if pause is None:
            raise StackError(
                f"{name} ended more than {MOST_RESTARTS} times within a minute (it said: {process.last_words(1)}): "
                f"see {process.log}."
            )
        self._say(name, f"ended with code {process.returncode}, starting again in {pause:g} s")
        await asyncio.sleep(pause)

    async def _waited_for_room(self, name: str) -> bool:
        """Returns when the disk is not full any more; whether it was. A full one ends a broker at each start:

        that would spend its patience in seconds, and the whole stack would be down when there is room again.
        """
        if self._stack.has_room(name):
            return False
        self._say(name, "its disk is full: starts again when there is room")
        while True:
            await asyncio.sleep(LOOK_EVERY)
            if self._stack.has_room(name):
                return True


async def _is_ready(client: httpx.AsyncClient, program: Program) -> bool:
    if not program.admin_port:
        return True
    try:
        return (await client.get(f"http://127.0.0.1:{program.admin_port}/readyz")).is_success
    except httpx.HTTPError:
        return False
