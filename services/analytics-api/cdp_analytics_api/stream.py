"""The end of events-identified -> live listeners, read only while somebody listens."""

import asyncio
from collections import defaultdict
from collections.abc import Mapping, Sequence
from typing import Final
from uuid import UUID

from cdp_analytics_api.event_view import from_message
from cdp_analytics_api.live import Listeners
from cdp_analytics_api.ports import Directory, EventTail
from cdp_clickhouse.errors import StoreError
from cdp_eventlog.log import LogUnavailable
from cdp_eventlog.waiting import is_set_within
from cdp_runtime.backoff import Backoff
from cdp_runtime.logs import get_logger
from cdp_schemas.events import IdentifiedEvent

_log = get_logger(__name__)
_LINGER_S: Final = 10.0


class LiveStream:
    """Follows the log while there are listeners, and a little longer."""

    def __init__(self, tail: EventTail, listeners: Listeners, directory: Directory) -> None:
        self._tail, self._listeners, self._directory = tail, listeners, directory
        self._following = asyncio.Event()
        self.fault: str | None = None

    async def ready(self, timeout: float) -> bool:
        """True when events from now on will be seen."""
        return await is_set_within(self._following, timeout)

    async def run(self) -> None:
        """Until cancelled."""
        attempt = 0
        while True:
            await self._listeners.present.wait()
            try:
                await self._follow_while_wanted()
                attempt = 0
            except LogUnavailable as error:
                self.fault = str(error)
                _log.warning("live_stream_interrupted", reason=self.fault)
                await asyncio.sleep(Backoff(cap=5.0).delay(attempt))
                attempt += 1

    async def _follow_while_wanted(self) -> None:
        following = asyncio.create_task(self._tail.follow(self._show, self._begin))
        unwanted = asyncio.create_task(self._unwanted())
        try:
            done, _ = await asyncio.wait({following, unwanted}, return_when=asyncio.FIRST_COMPLETED)
            if following in done:
                following.result()
        finally:
            self._following.clear()
            for task in (following, unwanted):
                task.cancel()
            await asyncio.gather(following, unwanted, return_exceptions=True)

    async def _unwanted(self) -> None:
        """Returns when nobody has listened for a while."""
        while True:
            await self._listeners.absent.wait()
            await asyncio.sleep(_LINGER_S)
            if self._listeners.absent.is_set():
                return

    def _begin(self) -> None:
        self.fault = None
        self._following.set()

    async def _show(self, events: Sequence[IdentifiedEvent]) -> None:
        wanted = self._listeners.workspaces()
        by_workspace: dict[str, list[IdentifiedEvent]] = defaultdict(list)
        for event in events:
            if event.workspace_id in wanted:
                by_workspace[event.workspace_id].append(event)
        for workspace_id, found in by_workspace.items():
            asked = [*(event.node_id for event in found), *self._listeners.profiles(workspace_id)]
            profiles = await self._profiles(workspace_id, asked)
            views = [from_message(event, profiles[event.node_id]) for event in found]
            self._listeners.publish(workspace_id, views, profiles)

    async def _profiles(self, workspace_id: str, nodes: Sequence[UUID]) -> Mapping[UUID, UUID]:
        try:
            return await self._directory.profiles_of(workspace_id, nodes)
        except StoreError as error:
            # the stream goes on without the column store: a node's own id is right but for merged ones
            _log.warning("live_stream_without_aliases", reason=str(error))
            return {node: node for node in nodes}
