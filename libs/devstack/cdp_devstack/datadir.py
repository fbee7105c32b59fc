"""The data directory: a path in, a directory that is ours, locked and has room out, or one sentence why not."""

from __future__ import annotations

import fcntl
import json
import os
import shutil
import time
from pathlib import Path
from typing import IO

from cdp_devstack.errors import StackError

MARKER = ".millrace"  # makes a directory ours; also the lock
LEAST_FREE_MB = 500
LOCK_SECONDS = 3.0  # how long a killed predecessor's children may take to go


class DataDir:
    """The directory that holds all local data, held by one stack at a time."""

    def __init__(self, path: Path) -> None:
        self.path = path.expanduser().absolute()
        self._lock: IO[str] | None = None

    def acquire(self) -> None:
        """Make it if needed, and hold it until release() or the end of this process."""
        self._create()
        self._check_room()
        lock = (self.path / MARKER).open("a+")
        deadline = time.monotonic() + LOCK_SECONDS
        while not _try_lock(lock):
            if time.monotonic() > deadline:
                raise StackError(
                    f"The data directory {self.path} is in use by {_holder(lock)}: stop that one, or give --data-dir."
                )
            time.sleep(0.1)
        lock.seek(0)
        lock.truncate()
        json.dump({"pid": os.getpid()}, lock)
        lock.flush()
        self._lock = lock

    def release(self) -> None:
        """Let another stack have it."""
        if self._lock:
            self._lock.close()
            self._lock = None

    def empty(self) -> None:
        """Delete what is in it, only while holding it."""
        if not self._lock:
            raise StackError(f"The data directory {self.path} is not held by this stack and was not emptied.")
        for entry in self.path.iterdir():
            if entry.name == MARKER:
                continue
            if entry.is_dir() and not entry.is_symlink():
                shutil.rmtree(entry)
            else:
                entry.unlink()

    def _create(self) -> None:
        try:
            if self.path.is_dir() and any(self.path.iterdir()) and not (self.path / MARKER).exists():
                raise StackError(
                    f"{self.path} has files in it that are not Millrace's: give a new directory with --data-dir."
                )
            self.path.mkdir(parents=True, exist_ok=True)
            (self.path / MARKER).touch()
        except OSError as error:
            raise StackError(
                f"The data directory {self.path} cannot be used ({error.strerror}): give another with --data-dir."
            ) from error

    def _check_room(self) -> None:
        free = shutil.disk_usage(self.path).free // 1_000_000
        if free < LEAST_FREE_MB:
            raise StackError(
                f"Only {free} MB are free where {self.path} lies and {LEAST_FREE_MB} MB are needed: make room, or give "
                "another directory with --data-dir."
            )


def _try_lock(lock: IO[str]) -> bool:
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _holder(lock: IO[str]) -> str:
    lock.seek(0)
    try:
        return f"process {json.load(lock)['pid']}"
    except (ValueError, KeyError):
        return "another process"
