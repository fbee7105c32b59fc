"""A connection's bytes -> uvicorn's HTTP protocol, closed when a request that has begun does not become complete."""

import asyncio
from typing import Any, Final

from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol

from cdp_runtime.metrics import HTTP_CONNECTIONS_CUT
from cdp_runtime.slow_readers import Resumptions

_APPLICATION_FIRST: Final = 2.0  # seconds: an application with a deadline of its own for bodies says more than we can
_LARGEST_HEAD: Final = 65_536  # bytes, in pieces: what one read brings at once is bounded anyway
_LATE: Final = (
    b"HTTP/1.1 408 Request Timeout\r\ncontent-type: text/plain; charset=utf-8\r\ncontent-length: 36\r\n"
    b"connection: close\r\n\r\nThe request did not arrive in time.\n"
)
_TOO_LARGE: Final = (
    b"HTTP/1.1 431 Request Header Fields Too Large\r\ncontent-type: text/plain; charset=utf-8\r\n"
    b"content-length: 36\r\nconnection: close\r\n\r\nThe head of the request is too big.\n"
)


class DeadlineProtocol(Resumptions, HttpToolsProtocol):
    """``request_seconds`` for the head from its first byte, and as long again for the body; and a largest head.

    Uvicorn alone waits for ever: a few clients that dribble their headers would hold all connections. A request that
    arrives whole, as nearly all do, costs a few comparisons and no timer. A connection that says nothing at first is
    idle like one between two requests, and is closed after the same time.
    """

    request_seconds = 30.0

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._unfinished: object | None = None  # the scope of an open head, or the cycle of an open body
        self._deadline: asyncio.TimerHandle | None = None
        self._head_bytes = 0

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        super().connection_made(transport)
        self.timeout_keep_alive_task = self.loop.call_later(self.timeout_keep_alive, self.timeout_keep_alive_handler)

    def connection_lost(self, exc: Exception | None) -> None:
        self._wait_for(None)
        self._unset_keepalive_if_required()
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        super().data_received(data)
        cycle = self.cycle
        unfinished: object | None
        if cycle is None or cycle.scope is not self.scope:
            unfinished = self.scope or self
            self._head_bytes += len(data)
            if self._head_bytes > _LARGEST_HEAD and self.transport.get_protocol() is self:
                return self._cut("large head", _TOO_LARGE)
        elif cycle.more_body or cycle.response_complete:  # after the answer: bytes that begin no request
            unfinished = cycle
        else:
            unfinished = None
        if unfinished is not self._unfinished:
            self._head_bytes = 0  # without what this read brought: it may be the end of the body before
            self._wait_for(unfinished)
        return None

    def handle_websocket_upgrade(self) -> None:
        super().handle_websocket_upgrade()
        self._wait_for(None)

    def _wait_for(self, unfinished: object | None) -> None:
        self._unfinished = unfinished
        if self._deadline is not None:
            self._deadline.cancel()
            self._deadline = None
        if unfinished is not None and self.transport.get_protocol() is self:  # else it is a WebSocket's by now
            extra = _APPLICATION_FIRST if unfinished is self.cycle else 0.0
            self._deadline = self.loop.call_later(self.request_seconds + extra, self._expired)

    def _expired(self) -> None:
        if self.transport.is_closing():
            return
        if self.flow.read_paused:  # we do not read: the client is not to blame
            self._wait_for(self._unfinished)
            return
        cycle = self.cycle
        is_body = self._unfinished is cycle
        may_answer = cycle is None or (not cycle.response_started if is_body else cycle.response_complete)
        self._cut("slow body" if is_body else "slow head", _LATE if may_answer else b"")

    def _cut(self, reason: str, answer: bytes) -> None:
        HTTP_CONNECTIONS_CUT.labels(reason).inc()
        if answer:
            self.transport.write(answer)
        self._wait_for(None)
        self.transport.close()


def with_deadline(seconds: float) -> type[DeadlineProtocol]:
    """The protocol with this deadline, as a class: uvicorn makes one instance per connection."""
    return type("DeadlineProtocol", (DeadlineProtocol,), {"request_seconds": seconds})
