"""Where an INSERT ends and its data begins: the bytes of a request in, statement, format and data out."""

from __future__ import annotations

import re
from dataclasses import dataclass

_SKIP = rb"""
      '(?:[^'\\]|\\.|'')*' | "(?:[^"\\]|\\.|"")*" | `(?:[^`\\]|\\.|``)*`   # anything quoted
    | --[^\n]*(?:\n|\Z) | \#!?[ ][^\n]*(?:\n|\Z) | /\*.*?\*/                # comments
"""
_TOKEN = re.compile(_SKIP + rb"| [()] | [A-Za-z_][A-Za-z0-9_]* | [0-9]+", re.VERBOSE | re.DOTALL)
_OPENING = re.compile(rb"(?:\s|--[^\n]*\n|/\*.*?\*/)*INSERT\s+INTO\s", re.IGNORECASE | re.DOTALL)
_FORMAT_NAME = re.compile(rb"\s*([A-Za-z_][A-Za-z0-9_]*)[ \t\f]*(?:\r?\n)?")
_RESULT_FORMAT = re.compile(r"\bFORMAT\s+([A-Za-z_]\w*)\s*(?:SETTINGS\b[^()]*)?;?\s*\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Insert:
    """An INSERT that brings its data along."""

    statement: str
    format: str
    data: bytes

    def reading(self, path: str) -> str:
        """The same INSERT with its data in a file."""
        text = self.statement.encode()
        place = _settings_clause(text)
        infile = f" FROM INFILE '{path}' "
        return f"{text[:place].decode()}{infile}{text[place:].decode()} FORMAT {self.format}"


def split_insert(query: bytes, body: bytes) -> Insert | None:
    """Cut an INSERT with data; None for everything else (also INSERT ... SELECT)."""
    text = query + b"\n" + body if query and not _is_complete(query) else query or body
    end = _end_of_statement(text)
    if end is None:
        return None
    statement, name, start = end
    rest = text[start:]
    following = body if text is query else b""
    return Insert(statement.decode(), name.decode(), rest + following if rest.strip() else following or rest)


def result_format(statement: str) -> str | None:
    """The FORMAT that a query ends with, if it names one."""
    found = _RESULT_FORMAT.search(statement[-500:])
    return found.group(1) if found else None


def _is_complete(query: bytes) -> bool:
    return _end_of_statement(query) is not None


def _end_of_statement(text: bytes) -> tuple[bytes, bytes, int] | None:
    """(statement without its FORMAT clause, format, where the data starts)."""
    opening = _OPENING.match(text)
    if not opening:
        return None
    depth, position = 0, opening.end()
    while found := _TOKEN.search(text, position):
        token, position = found.group(0), found.end()
        depth += (token == b"(") - (token == b")")
        if depth:
            continue
        word = token.upper()
        if word in (b"SELECT", b"WITH"):
            return None
        if word == b"VALUES":
            return text[: found.start()], b"Values", position
        if word == b"FORMAT" and (name := _FORMAT_NAME.match(text, position)):
            if name.group(1).upper() == b"VALUES":
                return text[: found.start()], b"Values", name.end()
            return text[: found.start()], name.group(1), name.end()
    return None


def _settings_clause(statement: bytes) -> int:
    """Where the SETTINGS of an INSERT begin; its end when it has none."""
    opening = _OPENING.match(statement)
    depth, position = 0, opening.end() if opening else 0
    while found := _TOKEN.search(statement, position):
        token, position = found.group(0), found.end()
        depth += (token == b"(") - (token == b")")
        if depth == 0 and token.upper() == b"SETTINGS":
            return found.start()
    return len(statement)
