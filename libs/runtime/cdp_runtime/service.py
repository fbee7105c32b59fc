"""What a process runs: the port of a service."""

from collections.abc import Mapping
from typing import Protocol


class Service(Protocol):
    """One process, from ``start`` to ``stop``. Entry point group ``cdp.services``: a callable that builds one."""

    name: str

    async def start(self) -> None:
        """Connects; waits with backoff for what is down, so that ``/readyz`` can say so meanwhile."""

    async def run(self) -> None:
        """Works until ``stop`` is called. An exception ends the process with code 1."""

    async def stop(self) -> None:
        """Stops intake, finishes what is open, flushes, disconnects. Called once, also when ``start`` did not end."""

    def faults(self) -> Mapping[str, str]:
        """Dependency -> why it keeps this process from being ready, in one sentence; empty when it is ready."""
