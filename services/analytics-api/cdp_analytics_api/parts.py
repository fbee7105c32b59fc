"""The services' parts (entry point group cdp.api) -> routers that answer 503 until their part has started."""

import asyncio
from collections.abc import Mapping, Sequence
from importlib.metadata import entry_points
from typing import Any

from cdp_runtime.api import ApiPart, Facet
from cdp_runtime.backoff import Backoff
from cdp_runtime.envelope import unavailable
from cdp_runtime.logs import get_logger

_log = get_logger(__name__)


def installed_parts() -> list[ApiPart]:
    """One part of every installed service that offers one, by name. Raises what building it raises."""
    return [entry.load()() for entry in sorted(entry_points(group="cdp.api"), key=lambda entry: entry.name)]


class RunningPart:
    """A part that starts in the background, again and again if it must; the door does not wait for it."""

    def __init__(self, part: ApiPart) -> None:
        self.part = part
        self._starting: asyncio.Task[None] | None = None
        self._started = False
        self._failure: str | None = None

    def start(self) -> None:
        self._starting = asyncio.create_task(self._start())

    async def stop(self) -> None:
        if self._starting is not None:
            self._starting.cancel()
            await asyncio.gather(self._starting, return_exceptions=True)
        await self.part.stop()

    def require_open(self) -> None:
        """Asked before every request to this part. Raises ApiError 503 that names what is missing."""
        if not self._started:
            dependency, reason = next(iter(self.faults().items()))
            raise unavailable(dependency, f"{self.part.name} is not ready: {reason}")

    def faults(self) -> Mapping[str, str]:
        """Dependency -> reason; empty when the part is ready."""
        faults = dict(self.part.faults())
        if not self._started and not faults:
            faults[self.part.name] = self._failure or "it is starting"
        return faults

    async def _start(self) -> None:
        attempt = 0
        while True:
            try:
                await self.part.start()
                self._started = True
                return
            except Exception as error:
                self._failure = str(error) or type(error).__name__
                _log.exception("part_not_started", part=self.part.name)
                await asyncio.sleep(Backoff(cap=5.0).delay(attempt))
                attempt += 1


def merged_facets(parts: Sequence[ApiPart]) -> dict[str, Facet]:
    """All facets by name; one that several parts offer answers with the answers of all of them."""
    offered: dict[str, list[Facet]] = {}
    for part in parts:
        for name, facet in part.facets.items():
            offered.setdefault(name, []).append(facet)
    return {name: facets[0] if len(facets) == 1 else _joined(facets) for name, facets in offered.items()}


def _joined(facets: Sequence[Facet]) -> Facet:
    async def all_of_them(workspace_id: str, ids: Sequence[Any]) -> Mapping[Any, Any]:
        """What each part answers, in one mapping."""
        answers = await asyncio.gather(*(facet(workspace_id, ids) for facet in facets))
        return {key: value for answer in answers for key, value in answer.items()}

    return all_of_them
