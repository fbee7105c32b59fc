"""The real engine inside this process: one Question in, one Answer out. Thread-safe: queries run in parallel."""

from __future__ import annotations

import os
import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from cdp_devstack.clickhouse.connections import Connections, Lease, assign, command, identifier
from cdp_devstack.clickhouse.failures import SYNTAX_ERROR, ClickHouseError
from cdp_devstack.clickhouse.request import ExternalTable, Question
from cdp_devstack.clickhouse.statement import Insert, result_format, split_insert

# one statement that reads: parsing it once more to learn that would cost as much as parsing it
_QUESTION = re.compile(r"\s*(?:SELECT|WITH)\b[^;]*\Z", re.IGNORECASE)


@dataclass(frozen=True)
class Answer:
    """What a query gave."""

    body: bytes = b""
    format: str = "TabSeparated"
    read_rows: int = 0
    read_bytes: int = 0
    written_rows: int = 0
    written_bytes: int = 0
    result_rows: int = 0
    seconds: float = 0.0


class Engine:
    """All of chDB that the HTTP interface needs."""

    def __init__(self, path: Path) -> None:
        self._connections = Connections(str(path))
        version, timezone = self.run(Question(b"SELECT version(), timezone()", b"")).body.split()
        self.version, self.timezone = version.decode(), timezone.decode()

    def close(self) -> None:
        """Let go of the data directory."""
        self._connections.close()

    def run(self, question: Question) -> Answer:
        """Answer it, or raise ClickHouseError."""
        insert = split_insert(question.query, question.body)
        began = time.perf_counter()  # the engine's own clock runs on between queries of one connection
        with self._connections.lease(question) as lease:
            try:
                for table in question.tables:
                    _create_external(lease.connection, table)
                if insert and question.parameters:
                    lease.keep = False
                answer = _insert(lease.connection, insert, question.parameters) if insert else _ask(lease, question)
            except RuntimeError as error:
                raise ClickHouseError.from_engine(str(error)) from error
        return replace(answer, seconds=time.perf_counter() - began)


def _ask(lease: Lease, question: Question) -> Answer:
    text = b"\n".join(part for part in (question.query, question.body) if part).decode(errors="surrogateescape")
    if not text.strip():
        raise ClickHouseError(SYNTAX_ERROR, "Syntax error: Empty query")
    if not _QUESTION.match(text):
        _classify(lease, text)
    result = lease.connection.query(text, question.default_format, params=dict(question.parameters))
    if result.has_error():
        raise ClickHouseError.from_engine(result.error_message())
    return Answer(
        body=bytes(result.bytes()) if result.size() else b"",
        format=result_format(text) or question.default_format,
        read_rows=result.storage_rows_read(),
        read_bytes=result.bytes_read(),
        written_rows=result.rows_written(),
        written_bytes=result.bytes_written(),
        result_rows=result.rows_read(),
    )


def _classify(lease: Lease, text: str) -> None:
    verdict = lease.connection.classify_query(text)
    if verdict["statement_count"] > 1:
        raise ClickHouseError(SYNTAX_ERROR, "Syntax error (Multi-statements are not allowed)")
    if verdict["query_class"].name not in ("READ_ONLY", "MUTATING"):  # SET, USE, CREATE TEMPORARY TABLE
        lease.keep = False


def _insert(connection: Any, insert: Insert, parameters: Mapping[str, str]) -> Answer:
    """Read the data from a file in memory that ends with this process: exact for every format, unlike data in a query.

    Not with chDB's send_insert: it answers well when a view throws or a part cannot be written, and the rows are lost.
    """
    assign(connection, {f"param_{name}": value for name, value in parameters.items()})
    with os.fdopen(os.memfd_create("insert"), "wb") as file:
        file.write(insert.data)
        file.flush()
        result = connection.query(insert.reading(f"/proc/self/fd/{file.fileno()}"), "Null")
    if result.has_error():
        raise ClickHouseError.from_engine(result.error_message())
    return Answer(written_rows=result.rows_written(), written_bytes=result.bytes_written())


def _create_external(connection: Any, table: ExternalTable) -> None:
    name = identifier(table.name)
    command(connection, f"CREATE TEMPORARY TABLE {name} ({table.structure}) ENGINE = Memory")
    _insert(connection, Insert(f"INSERT INTO {name} ", table.format, table.data), {})
