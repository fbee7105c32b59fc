"""A stack for callers without an event loop of their own: its loop runs on one thread that lives until close()."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Coroutine, Mapping
from pathlib import Path
from typing import Any

from cdp_devstack.parts import URL_VARIABLES, Part, Ports
from cdp_devstack.stack import RECIPES, LocalStack, Recipe


class BackgroundStack:
    """Parts that start on first demand, usable from synchronous code and from any event loop."""

    def __init__(self, data_dir: Path, ports: Ports | None = None, recipes: Mapping[Part, Recipe] = RECIPES) -> None:
        self._stack = LocalStack(data_dir, parts=frozenset(), ports=ports, recipes=recipes)
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, name="local-stack", daemon=True)
        self._thread.start()
        self._started: set[Part] = set()
        self._failures: dict[Part, Exception] = {}
        self._wait(self._stack.start())

    def url(self, part: Part) -> str:
        """Where the part is; starts it the first time. A part that could not start fails at once the next time."""
        if part in self._failures:
            raise self._failures[part]
        if part not in self._started:
            try:
                self._wait(self._stack.start_part(part))
            except Exception as error:
                self._failures[part] = error
                raise
            self._started.add(part)
        return self._stack.environment[URL_VARIABLES[part]]

    @property
    def environment(self) -> dict[str, str]:
        """The variables of the parts that were started or are given."""
        return self._stack.environment

    def pid(self, part: Part) -> int:
        """The process id of a started part. Raises KeyError for one that is given or not started."""
        process = self._stack.process(part)
        if process is None or process.pid is None:
            raise KeyError(f"{part} was not started here")
        return process.pid

    def is_running(self, part: Part) -> bool:
        """Whether the process of a started part is there (true for one that is given)."""
        return self._stack.is_running(part)

    def kill(self, part: Part) -> None:
        """kill -9 one part."""
        self._wait(self._stack.kill(part))

    def restart(self, part: Part) -> None:
        """Start one part again on the same port and data."""
        self._wait(self._stack.restart(part))

    def close(self) -> None:
        """Stop everything."""
        self._wait(self._stack.stop())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join(10)
        self._loop.close()

    def _wait(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result()
