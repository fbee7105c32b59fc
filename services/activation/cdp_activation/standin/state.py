"""What the stand-in remembers, on disk: audiences, their members, replacement sessions, webhook members, last calls."""

import json
import sqlite3
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

_TABLES: Final = """
CREATE TABLE IF NOT EXISTS audiences (id TEXT PRIMARY KEY, account TEXT, name TEXT, description TEXT);
CREATE TABLE IF NOT EXISTS members (
    audience TEXT, row_key TEXT, extern_id TEXT, email TEXT, phone TEXT, madid TEXT, cells TEXT,
    PRIMARY KEY (audience, row_key)) WITHOUT ROWID;
CREATE INDEX IF NOT EXISTS members_email ON members (audience, email);
CREATE INDEX IF NOT EXISTS members_phone ON members (audience, phone);
CREATE TABLE IF NOT EXISTS sessions (
    id TEXT, audience TEXT, received INTEGER, invalid INTEGER, stage TEXT, started REAL, ended REAL,
    PRIMARY KEY (audience, id));
CREATE TABLE IF NOT EXISTS hooked (audience TEXT, profile_id TEXT, member TEXT, PRIMARY KEY (audience, profile_id));
CREATE TABLE IF NOT EXISTS messages (id TEXT PRIMARY KEY, digest TEXT, at REAL);
CREATE TABLE IF NOT EXISTS calls (
    n INTEGER PRIMARY KEY AUTOINCREMENT, at REAL, target TEXT, method TEXT, path TEXT, rows INTEGER, status INTEGER,
    note TEXT);
"""
_DEMO_AUDIENCES: Final = (
    ("120000000000001", "act_1", "Demo audience"),
    ("12345678", "act_123456", "Retargeting"),
)
_CALLS_KEPT: Final = 5000
_MESSAGES_KEPT: Final = 100_000


class State:
    """One SQLite file; the stand-in is one process, so every method is one short transaction."""

    def __init__(self, path: Path) -> None:
        path.parent.mkdir(parents=True, exist_ok=True)
        self._db = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
        self._db.execute("PRAGMA journal_mode = WAL")
        self._db.execute("PRAGMA synchronous = OFF")
        self._db.executescript(_TABLES)
        for audience, account, name in _DEMO_AUDIENCES:
            self._db.execute("INSERT OR IGNORE INTO audiences VALUES (?, ?, ?, '')", (audience, account, name))

    # audiences and their members

    def audience(self, audience: str) -> dict[str, Any] | None:
        found = self._rows("SELECT id, account, name FROM audiences WHERE id = ?", audience)
        return found[0] if found else None

    def audiences(self) -> list[dict[str, Any]]:
        return self._rows(
            "SELECT a.id, a.account, a.name, (SELECT count(*) FROM members m WHERE m.audience = a.id) AS members "
            "FROM audiences a ORDER BY a.id"
        )

    def create_audience(self, account: str, name: str, description: str) -> str:
        audience = str(int(time.time() * 1000)) + str(len(self.audiences()))
        self._db.execute("INSERT INTO audiences VALUES (?, ?, ?, ?)", (audience, account, name, description))
        return audience

    def add(self, audience: str, rows: Sequence[Mapping[str, str]]) -> None:
        """Set semantics: the same person again changes nothing."""
        with _Transaction(self._db):
            self._db.executemany(
                "INSERT OR REPLACE INTO members VALUES (?, ?, ?, ?, ?, ?, ?)",
                [(audience, _row_key(row), *_keys(row), json.dumps(row)) for row in rows],
            )

    def remove(self, audience: str, rows: Sequence[Mapping[str, str]]) -> None:
        """Whoever matches by any value goes, as at the platform: it knows people, not rows."""
        with _Transaction(self._db):
            for row in rows:
                for column, value in zip(("extern_id", "email", "phone", "madid"), _keys(row), strict=True):
                    if value:
                        self._db.execute(
                            f"DELETE FROM members WHERE audience = ? AND {column} = ?",  # noqa: S608 a constant name
                            (audience, value),
                        )

    def members(self, audience: str) -> list[dict[str, str]]:
        found = self._rows("SELECT cells FROM members WHERE audience = ? ORDER BY row_key", audience)
        return [json.loads(row["cells"]) for row in found]

    # sessions of usersreplace: what they gather lives in an audience of its own until the last batch

    def in_session(self, audience: str, session: str, rows: Sequence[Mapping[str, str]], *, last: bool) -> None:
        staging = f"{audience}#{session}"
        self.add(staging, rows)
        self._db.execute(
            "INSERT INTO sessions VALUES (?, ?, ?, 0, 'uploading', ?, NULL) "
            "ON CONFLICT (audience, id) DO UPDATE SET received = received + excluded.received",
            (session, audience, len(rows), time.time()),
        )
        if last:
            with _Transaction(self._db):
                self._db.execute("DELETE FROM members WHERE audience = ?", (audience,))
                self._db.execute("UPDATE members SET audience = ? WHERE audience = ?", (audience, staging))
                self._db.execute(
                    "UPDATE sessions SET stage = 'done', ended = ? WHERE audience = ? AND id = ?",
                    (time.time(), audience, session),
                )

    def session(self, audience: str, session: str) -> dict[str, Any] | None:
        found = self._rows("SELECT * FROM sessions WHERE audience = ? AND id = ?", audience, session)
        return found[0] if found else None

    def open_session(self, audience: str) -> str | None:
        """A replacement that began less than 90 minutes ago and is not done."""
        found = self._rows(
            "SELECT id FROM sessions WHERE audience = ? AND stage = 'uploading' AND started > ? ORDER BY started DESC",
            audience,
            time.time() - 5400,
        )
        return found[0]["id"] if found else None

    # webhooks

    def seen(self, message: str, digest: str) -> str | None:
        """The digest of an earlier message of this id, None for a new one, which is kept."""
        found = self._rows("SELECT digest FROM messages WHERE id = ?", message)
        if found:
            return str(found[0]["digest"])
        self._db.execute("INSERT INTO messages VALUES (?, ?, ?)", (message, digest, time.time()))
        self._db.execute("DELETE FROM messages WHERE rowid <= (SELECT max(rowid) FROM messages) - ?", (_MESSAGES_KEPT,))
        return None

    def hook(self, audience: str, members: Sequence[Mapping[str, Any]], *, remove: bool) -> None:
        with _Transaction(self._db):
            for member in members:
                name = (audience, str(member.get("profileId")))
                if remove:
                    self._db.execute("DELETE FROM hooked WHERE audience = ? AND profile_id = ?", name)
                else:
                    self._db.execute("INSERT OR REPLACE INTO hooked VALUES (?, ?, ?)", (*name, json.dumps(member)))

    def hook_replaced(self, audience: str, session: str, members: Sequence[Mapping[str, Any]], *, last: bool) -> None:
        staging = f"{audience}#{session}"
        self.hook(staging, members, remove=False)
        if last:
            with _Transaction(self._db):
                self._db.execute("DELETE FROM hooked WHERE audience = ?", (audience,))
                self._db.execute("UPDATE hooked SET audience = ? WHERE audience = ?", (audience, staging))

    def hooked(self, audience: str | None = None) -> list[dict[str, Any]]:
        found = self._rows(
            "SELECT audience, member FROM hooked WHERE instr(audience, '#') = 0 AND (? IS NULL OR audience = ?) "
            "ORDER BY audience, profile_id",
            audience,
            audience,
        )
        return [{**json.loads(row["member"]), "audience": row["audience"]} for row in found]

    # calls

    def note(self, target: str, call: tuple[str, str], rows: int, status: int, note: str) -> None:
        self._db.execute(
            "INSERT INTO calls (at, target, method, path, rows, status, note) VALUES (?, ?, ?, ?, ?, ?, ?)",
            (time.time(), target, *call, rows, status, note),
        )
        self._db.execute("DELETE FROM calls WHERE n <= (SELECT max(n) FROM calls) - ?", (_CALLS_KEPT,))

    def calls(self, limit: int = 100, target: str | None = None) -> list[dict[str, Any]]:
        return self._rows(
            "SELECT * FROM calls WHERE ? IS NULL OR target = ? ORDER BY n DESC LIMIT ?", target, target, limit
        )

    def reset(self) -> None:
        """Forgets members, sessions, messages and calls; audiences stay."""
        with _Transaction(self._db):
            for table in ("members", "sessions", "hooked", "messages", "calls"):
                self._db.execute(f"DELETE FROM {table}")  # noqa: S608 a constant name

    def _rows(self, statement: str, *parameters: Any) -> list[dict[str, Any]]:
        cursor = self._db.execute(statement, parameters)
        names = [column[0] for column in cursor.description]
        return [dict(zip(names, row, strict=True)) for row in cursor.fetchall()]


class _Transaction:
    def __init__(self, db: sqlite3.Connection) -> None:
        self._db = db

    def __enter__(self) -> None:
        self._db.execute("BEGIN IMMEDIATE")

    def __exit__(self, kind: object, *_: object) -> None:
        self._db.execute("COMMIT" if kind is None else "ROLLBACK")


def _keys(row: Mapping[str, str]) -> tuple[str, str, str, str]:
    return row.get("EXTERN_ID", ""), row.get("EMAIL", ""), row.get("PHONE", ""), row.get("MADID", "")


def _row_key(row: Mapping[str, str]) -> str:
    return row.get("EXTERN_ID") or "|".join(_keys(row))
