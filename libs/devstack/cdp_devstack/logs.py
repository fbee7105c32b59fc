"""A folder of logs that processes write themselves -> none larger than is set, each with one predecessor."""

from __future__ import annotations

import asyncio
import contextlib
import os
import shutil
from pathlib import Path

MOST_BYTES = 16 * 1024 * 1024
LOOK_SECONDS = 1.0


async def keep_small(folder: Path) -> None:
    """Looks every second, until cancelled."""
    while True:
        await asyncio.to_thread(turn_over, folder)
        await asyncio.sleep(LOOK_SECONDS)


def turn_over(folder: Path) -> None:
    """Copies each log that became too large to NAME.log.1 and empties it; what wrote it goes on at its new end.

    A process keeps its log open for appending and knows nothing of this. What it writes between the last byte that was
    copied and the emptying, some microseconds, is lost.
    """
    for log in folder.glob("*.log"):
        with contextlib.suppress(OSError):  # no room for the copy: nothing is emptied until there is
            if log.stat().st_size > MOST_BYTES:
                _copy_and_empty(log, log.with_name(f"{log.name}.1"))


def _copy_and_empty(log: Path, predecessor: Path) -> None:
    with log.open("r+b") as source:
        with predecessor.open("wb") as copy:
            shutil.copyfileobj(source, copy, 1 << 20)
        os.ftruncate(source.fileno(), 0)
