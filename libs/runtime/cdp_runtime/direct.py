"""A request of the usual kind, alone on its connection -> its application, without ASGI in between.

Uvicorn makes a scope, a cycle, an event and a timer for each request, which costs more than what is done with it.
Whatever is not of the usual kind goes on to uvicorn, and with it everything that is hard about HTTP. Many clients send
head and body apart: what is still missing is waited for a moment before uvicorn gets what there is.
"""

from asyncio import TimerHandle
from typing import Any, Final, Protocol

from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from cdp_runtime.deadline import DeadlineProtocol
from cdp_runtime.exchange import LONGEST, Answer, Head, read_head
from cdp_runtime.logs import get_logger

_log = get_logger(__name__)
_MOST_EARLY: Final = 64 * 1024  # bytes that may come before the answer; then the connection is not read
_MOST_HELD: Final = 64 * 1024  # bytes of a body that is waited for
_PATIENCE: Final = 1.0  # seconds; from then on it is uvicorn's deadlines that count


class DirectApp(Protocol):
    """What an application offers to be called directly."""

    def takes(self, head: Head) -> bool:
        """Whether :meth:`answer` is to be asked."""

    async def answer(self, head: Head, body: bytes, peer: str) -> Answer:
        """The answer to a request; ``peer`` is the address at the other end."""


class DirectProtocol(DeadlineProtocol):
    """Has at most one request open that is not uvicorn's; what comes before its answer waits until then."""

    direct: DirectApp

    def __init__(self, *args: Any, **options: Any) -> None:
        super().__init__(*args, **options)
        self._is_open = self._is_last = False
        self._early = self._held = b""
        self._held_until: TimerHandle | None = None
        self._idle_at = 0.0

    def data_received(self, data: bytes) -> None:
        if self._is_open:
            self._early += data
            if len(self._early) > _MOST_EARLY:
                self.flow.pause_reading()
            return
        waited = self._held_until
        data = self._let_go() + data
        if not self._is_idle() or not self._begins(data, waited):
            super().data_received(data)

    def connection_lost(self, exc: Exception | None) -> None:
        self._let_go()
        self._early = b""
        super().connection_lost(exc)

    def shutdown(self) -> None:
        """Called when the server stops: an open request is answered first."""
        if self._is_open:
            self._is_last = True
            return
        self._hand_over()
        super().shutdown()

    def timeout_keep_alive_handler(self) -> None:
        """One timer for many requests: it looks when the last was answered, instead of being set anew by each."""
        is_busy = self._is_open or self._held
        left = self.timeout_keep_alive if is_busy else self._idle_at + self.timeout_keep_alive - self.loop.time()
        if left > 0:
            self.timeout_keep_alive_task = self.loop.call_later(left, self.timeout_keep_alive_handler)
        else:
            super().timeout_keep_alive_handler()

    def _is_idle(self) -> bool:
        """Whether the next byte begins a request, and nobody waits for an answer or cannot take one."""
        cycle = self.cycle
        return self._unfinished is None and (cycle is None or cycle.response_complete) and not self.flow.write_paused

    def _begins(self, data: bytes, waited: TimerHandle | None) -> bool:
        """Whether the request is ours, to serve or to wait for: ``waited`` is the patience it has had all along."""
        end = data.find(b"\r\n\r\n", 0, LONGEST) + 4
        head = read_head(data[:end]) if end > 3 else None
        if head is None or not self.direct.takes(head):
            return False
        if len(data) < end + head.length <= _MOST_HELD:
            until = self.loop.time() + _PATIENCE if waited is None else waited.when()
            self._held, self._held_until = data, self.loop.call_at(until, self._hand_over)
            return True
        if len(data) != end + head.length:
            return False
        self._is_open = True
        task = self.loop.create_task(self._serve(head, data[end:]))
        self.tasks.add(task)
        task.add_done_callback(self.tasks.discard)
        return True

    def _let_go(self) -> bytes:
        if self._held_until is None:
            return b""
        self._held_until.cancel()
        held, self._held, self._held_until = self._held, b"", None
        return held

    def _hand_over(self) -> None:
        if held := self._let_go():
            super().data_received(held)

    async def _serve(self, head: Head, body: bytes) -> None:
        try:
            answer = await self.direct.answer(head, body, self.client[0] if self.client else "")
        except Exception:
            _log.exception("request_failed", path=head.path)
            answer, self._is_last = _FAILED, True
        self._is_open = False
        if self.transport.is_closing():
            return
        self._write(answer)
        self._idle_at = self.loop.time()
        if self._is_last:
            self.transport.close()
        elif self._early:
            early, self._early = self._early, b""
            self.flow.resume_reading()
            self.data_received(early)

    def _write(self, answer: Answer) -> None:
        parts = [STATUS_LINE[answer.status]]
        for name, value in (*self.server_state.default_headers, *answer.headers):
            parts += (name, b": ", value, b"\r\n")
        parts += (b"connection: close\r\n\r\n" if self._is_last else b"\r\n", answer.body)
        self.transport.write(b"".join(parts))


_FAILED: Final = Answer(
    500, ((b"content-type", b"text/plain; charset=utf-8"), (b"content-length", b"21")), b"Internal Server Error"
)


def with_direct(seconds: float, app: DirectApp) -> type[DirectProtocol]:
    """The protocol with this deadline and application, as a class: uvicorn makes one instance per connection."""
    return type("DirectProtocol", (DirectProtocol,), {"request_seconds": seconds, "direct": app})
