"""A server's connections -> those whose clients do not read what they asked for are cut."""

import asyncio
import fcntl
import sys
import termios
from collections.abc import Set
from typing import Any, Final

from cdp_runtime.metrics import HTTP_CONNECTIONS_CUT

# slower than this is not reading: an answer of a megabyte would be held for a quarter of an hour
_SLOWEST: Final = 1024  # bytes per second


class Resumptions:
    """Counts, before a protocol of uvicorn's, how often a connection that was full took more again."""

    resumed = 0

    def resume_writing(self) -> None:
        self.resumed += 1
        super().resume_writing()  # type: ignore[misc]


class SlowReaders:
    """Asks all connections now and then how much they still hold, so that no request pays for it.

    A connection is looked at only while nothing is added to what it holds: while it is full, or closing. Nothing else
    ends those: uvicorn waits for the last byte for ever, also after it has closed.
    """

    def __init__(self, connections: Set[Any], seconds: float) -> None:
        self._connections, self._seconds = connections, seconds
        self._seen: dict[Any, tuple[int, int]] = {}

    async def run(self) -> None:
        """Until cancelled."""
        while True:
            await asyncio.sleep(self._seconds)
            self.look()

    def look(self) -> None:
        """Cuts who has read less than the slowest since the last look."""
        before, self._seen = self._seen, {}
        for connection in list(self._connections):
            held, resumed = _held(connection), connection.resumed
            if not held:
                continue
            was, resumed_before = before.get(connection, (0, -1))
            if resumed == resumed_before and held > was - self._seconds * _SLOWEST:
                HTTP_CONNECTIONS_CUT.labels("slow reader").inc()
                connection.transport.abort()
            else:
                self._seen[connection] = held, resumed


def _held(connection: Any) -> int:
    """The bytes that wait for the client; 0 while more may be added to them, for then they tell nothing."""
    transport = connection.transport
    flow = getattr(connection, "flow", None)  # HTTP's; a WebSocket has an event instead
    is_full = flow.write_paused if flow is not None else not connection.writable.is_set()
    ours = int(transport.get_write_buffer_size()) if is_full or transport.is_closing() else 0
    return ours + _in_kernel(transport) if ours else 0


def _in_kernel(transport: Any) -> int:
    """What the system has taken and the client has not: its buffer takes more only when a good part is free again."""
    try:
        answer = fcntl.ioctl(transport.get_extra_info("socket").fileno(), termios.TIOCOUTQ, bytes(4))
    except (OSError, AttributeError, ValueError):
        return 0
    return int.from_bytes(answer, sys.byteorder)
