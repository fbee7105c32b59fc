"""Uvicorn as a guest in a process of ours: signals are the process's own to answer."""

from contextlib import AbstractContextManager, nullcontext

import uvicorn


class GuestServer(uvicorn.Server):
    """Serves until ``should_exit`` is set; ``cdp_runtime.run`` answers SIGTERM and SIGINT."""

    def capture_signals(self) -> AbstractContextManager[None]:  # type: ignore[override]
        return nullcontext()
