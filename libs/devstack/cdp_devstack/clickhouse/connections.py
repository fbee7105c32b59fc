"""chDB connections: a Question in, a connection that has its database and settings out, kept for the next like it."""

from __future__ import annotations

import importlib
import re
import threading
import time
from collections import OrderedDict
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from cdp_devstack.clickhouse.failures import SESSION_IS_LOCKED, UNKNOWN_SETTING, ClickHouseError
from cdp_devstack.clickhouse.request import Question

TOKEN = "insert_deduplication_token"
MOST_IDLE = 16
SESSION_SECONDS = 60.0
_SETTING_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_.]*\Z")
_chdb: Any = importlib.import_module("chdb")._chdb

Key = tuple[str, frozenset[tuple[str, str]], bool]


@dataclass
class Lease:
    """A connection for one query; whoever changes its state (SET, USE, a temporary table) clears `keep`."""

    connection: Any
    keep: bool = True


@dataclass
class Session:
    """A connection that lives on between requests, for temporary tables and SET."""

    connection: Any
    lock: threading.Lock = field(default_factory=threading.Lock)
    used: float = 0.0


class Connections:
    """All connections to one data directory; opening and setting one up takes 2 ms, so idle ones are kept."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._keeper = self._open()  # the engine lives as long as any connection
        self._idle: OrderedDict[int, tuple[Key, Any]] = OrderedDict()
        self._sessions: dict[str, Session] = {}
        self._guard = threading.Lock()

    @contextmanager
    def lease(self, question: Question) -> Iterator[Lease]:
        """A connection for this question alone, with its database and settings."""
        if question.session:
            with self._in_session(question) as connection:
                yield Lease(connection)
            return
        key = _key(question)
        lease = Lease(self._take(key) or self._prepared(question), keep=False)
        try:
            if token := question.settings.get(TOKEN):
                command(lease.connection, f"SET {TOKEN} = {literal(token)}")
            lease.keep = not question.tables
            yield lease
        except BaseException:
            lease.keep = False
            raise
        finally:
            self._give_back(key, lease)

    def close(self) -> None:
        """Let go of the data directory."""
        for _, connection in self._idle.values():
            connection.close()
        for session in self._sessions.values():
            session.connection.close()
        self._keeper.close()

    def _open(self) -> Any:
        return _chdb.connect(self._path)

    def _take(self, key: Key) -> Any:
        with self._guard:
            found = next((number for number, (kept, _) in self._idle.items() if kept == key), None)
            return self._idle.pop(found)[1] if found is not None else None

    def _give_back(self, key: Key, lease: Lease) -> None:
        surplus = None if lease.keep else lease.connection
        if lease.keep:
            with self._guard:
                self._idle[id(lease.connection)] = (key, lease.connection)
                if len(self._idle) > MOST_IDLE:
                    surplus = self._idle.popitem(last=False)[1][1]
        if surplus is not None:
            surplus.close()

    def _prepared(self, question: Question) -> Any:
        connection = self._open()
        try:
            apply(connection, question)
        except BaseException:
            connection.close()
            raise
        return connection

    @contextmanager
    def _in_session(self, question: Question) -> Iterator[Any]:
        session = self._session(question.session)
        try:
            applied = apply(session.connection, question)
            try:
                yield session.connection
            finally:
                for name in applied:  # settings of the URL are the query's, not the session's
                    command(session.connection, f"SET {name} = DEFAULT")
        finally:
            session.used = time.monotonic()
            session.lock.release()

    def _session(self, name: str) -> Session:
        """The session, locked; old ones are closed on the way."""
        with self._guard:
            for other, old in list(self._sessions.items()):
                is_old = other != name and old.used < time.monotonic() - SESSION_SECONDS
                if is_old and old.lock.acquire(blocking=False):
                    self._sessions.pop(other).connection.close()
            session = self._sessions.get(name)
            if session is None:
                session = self._sessions[name] = Session(self._open())
            if not session.lock.acquire(blocking=False):
                raise ClickHouseError(SESSION_IS_LOCKED, f"Session {name} is locked by a concurrent client")
            return session


def apply(connection: Any, question: Question) -> list[str]:
    """Set database and settings; returns the names of the settings."""
    if question.database:
        command(connection, f"USE {identifier(question.database)}")
    settings = dict(question.settings)
    readonly = settings.pop("readonly", "2" if question.is_get else "0")
    for name in settings:
        if not _SETTING_NAME.match(name):
            raise ClickHouseError(UNKNOWN_SETTING, f"Unknown setting {literal(name)}")
    assign(connection, settings)
    if readonly != "0":
        command(connection, f"SET readonly = {literal(readonly)}")
    return list(settings)


def assign(connection: Any, values: Mapping[str, str]) -> None:
    """SET them all at once."""
    if values:
        command(connection, "SET " + ", ".join(f"{name} = {literal(value)}" for name, value in values.items()))


def command(connection: Any, text: str) -> None:
    """Run a statement that gives nothing back."""
    try:
        result = connection.query(text, "Null")
    except RuntimeError as error:
        raise ClickHouseError.from_engine(str(error)) from error
    if result.has_error():
        raise ClickHouseError.from_engine(result.error_message())


def literal(value: str) -> str:
    """A quoted string."""
    return "'" + value.replace("\\", "\\\\").replace("'", "\\'") + "'"


def identifier(name: str) -> str:
    """A quoted name."""
    return "`" + name.replace("\\", "\\\\").replace("`", "\\`") + "`"


def _key(question: Question) -> Key:
    settings = frozenset((name, value) for name, value in question.settings.items() if name != TOKEN)
    if question.is_get:
        settings |= {("", "GET")}
    return question.database, settings, bool(question.settings.get(TOKEN))
