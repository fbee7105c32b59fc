"""Identified events -> the live listeners that asked for them; a slow one loses its oldest and is told how many."""

import asyncio
from collections import deque
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import NamedTuple
from uuid import UUID

from cdp_analytics_api.event_view import EventView
from cdp_eventlog.waiting import is_set_within
from cdp_runtime.metrics import API_STREAM_CLIENTS, API_STREAM_DROPPED, API_STREAMS_ENDED
from cdp_schemas.profiles import profile_ref


@dataclass(frozen=True, slots=True)
class Interest:
    """What one listener wants to see, in its workspace; None means all."""

    workspace_id: str
    type: str | None = None
    names: frozenset[str] | None = None
    profile: UUID | None = None

    def wants(self, view: EventView, survivors: Mapping[UUID, UUID]) -> bool:
        """``survivors``: what profiles became since somebody began to listen to them."""
        return (
            (self.type is None or view.type == self.type)
            and (self.names is None or view.event in self.names)
            and (self.profile is None or view.profile_id == profile_ref(survivors.get(self.profile, self.profile)))
        )


@dataclass(frozen=True, slots=True)
class Delivery:
    """What a listener gets next: events, and how many it missed before them."""

    events: list[EventView]
    dropped: int = 0


class Ending(NamedTuple):
    """Why a stream ends: ``reason`` for the metric, the WebSocket's close code, and a sentence for the client."""

    reason: str
    code: int
    sentence: str


STOPPED = Ending("stopped", 1001, "the server stops")
REVOKED = Ending("revoked", 1008, "the API token was revoked, has expired or has other scopes now")
UNCHECKED = Ending("unchecked", 1013, "the API token cannot be checked now")
SLOW = Ending("slow", 1013, "too slow: nothing was read for too long")


@dataclass(eq=False)
class Listener:
    """One open stream with its bounded buffer. ``sending_since``: the loop's time at which a send began that lasts."""

    interest: Interest
    limit: int
    ending: Ending | None = None
    ended: asyncio.Event = field(default_factory=asyncio.Event)
    sending_since: float | None = None
    _buffer: deque[EventView] = field(default_factory=deque)
    _dropped: int = 0
    _filled: asyncio.Event = field(default_factory=asyncio.Event)

    def offer(self, view: EventView) -> None:
        if len(self._buffer) >= self.limit:
            self._buffer.popleft()
            self._dropped += 1
            API_STREAM_DROPPED.inc()
        self._buffer.append(view)
        self._filled.set()

    def end(self, ending: Ending) -> None:
        """The stream should end; the first reason counts."""
        if self.ending is None:
            self.ending = ending
            API_STREAMS_ENDED.labels(ending.reason).inc()
        self.ended.set()
        self._filled.set()

    async def next(self, timeout: float) -> Delivery:
        """What has gathered; empty when nothing came for ``timeout`` seconds."""
        if not await is_set_within(self._filled, timeout):
            return Delivery([])
        self._filled.clear()
        events, dropped = list(self._buffer), self._dropped
        self._buffer.clear()
        self._dropped = 0
        return Delivery(events, dropped)


class Listeners:
    """All open streams of this process."""

    def __init__(self, buffer: int) -> None:
        self._buffer = buffer
        self._open: set[Listener] = set()
        self.present, self.absent = asyncio.Event(), asyncio.Event()
        self.absent.set()

    def add(self, interest: Interest) -> Listener:
        listener = Listener(interest, self._buffer)
        self._open.add(listener)
        self.present.set()
        self.absent.clear()
        API_STREAM_CLIENTS.set(len(self._open))
        return listener

    def remove(self, listener: Listener) -> None:
        self._open.discard(listener)
        if not self._open:
            self.present.clear()
            self.absent.set()
        API_STREAM_CLIENTS.set(len(self._open))

    def close(self) -> None:
        """The process ends: the streams should, too."""
        for listener in self._open:
            listener.end(STOPPED)

    def workspaces(self) -> frozenset[str]:
        """The workspaces that somebody listens to."""
        return frozenset(listener.interest.workspace_id for listener in self._open)

    def profiles(self, workspace_id: str) -> list[UUID]:
        """The profiles that somebody listens to, as they were when they began to."""
        return [listener.interest.profile for listener in self._of(workspace_id) if listener.interest.profile]

    def publish(self, workspace_id: str, views: Sequence[EventView], survivors: Mapping[UUID, UUID]) -> None:
        for listener in self._of(workspace_id):
            for view in views:
                if listener.interest.wants(view, survivors):
                    listener.offer(view)

    def _of(self, workspace_id: str) -> Iterable[Listener]:
        return [listener for listener in self._open if listener.interest.workspace_id == workspace_id]
