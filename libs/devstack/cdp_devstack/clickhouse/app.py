"""ClickHouse's HTTP interface, answering: an ASGI request in, ClickHouse's headers, statuses and bodies out."""

from __future__ import annotations

import asyncio
import hmac
import json
import re
import socket
import uuid
from collections.abc import Awaitable, Callable, MutableMapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from cdp_devstack.clickhouse.compression import compress
from cdp_devstack.clickhouse.engine import Answer, Engine
from cdp_devstack.clickhouse.failures import AUTHENTICATION_FAILED, ClickHouseError
from cdp_devstack.clickhouse.request import Question, read_question

Scope = MutableMapping[str, Any]
Receive = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]
Headers = list[tuple[bytes, bytes]]

READERS, WRITERS = 16, 4  # threads; inserts never wait behind long reads
_INSERT = re.compile(rb"\s*INSERT\b", re.IGNORECASE)
CONTENT_TYPES = {
    "JSON": "application/json; charset=UTF-8",
    "JSONCompact": "application/json; charset=UTF-8",
    "JSONEachRow": "application/x-ndjson; charset=UTF-8",
    "CSV": "text/csv; charset=UTF-8; header=absent",
    "CSVWithNames": "text/csv; charset=UTF-8; header=present",
    "Native": "application/octet-stream",
    "RowBinary": "application/octet-stream",
}


class ClickHouseApp:
    """The ASGI application around one engine."""

    def __init__(self, engine: Engine, user: str = "default", password: str = "") -> None:
        self._engine = engine
        self._user, self._password = user, password
        self._host = socket.gethostname()
        self._readers = ThreadPoolExecutor(READERS, "read")
        self._writers = ThreadPoolExecutor(WRITERS, "write")

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Serve one request."""
        if scope["type"] == "lifespan":
            await self._lifespan(receive, send)
        elif scope["path"] in ("/ping", "/replicas_status"):
            await _respond(send, 200, [], b"Ok.\n")
        elif scope["path"] not in ("/", "/query"):
            await _respond(send, 404, [], f"There is no handle {scope['path']}\n".encode())
        else:
            await self._query(scope, await _body(receive), send)

    async def _lifespan(self, receive: Receive, send: Send) -> None:
        while True:
            message = await receive()
            if message["type"] == "lifespan.shutdown":
                self._readers.shutdown(wait=False, cancel_futures=True)
                self._writers.shutdown(wait=True, cancel_futures=True)
                self._engine.close()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return

    async def _query(self, scope: Scope, body: bytes, send: Send) -> None:
        headers = {name.decode("latin-1").lower(): value.decode("latin-1") for name, value in scope["headers"]}
        url = scope["query_string"].decode("latin-1")
        if not body and not url:
            await _respond(send, 200, [], b"Ok.\n")
            return
        query_id = str(uuid.uuid4())
        try:
            question = read_question(scope["method"], url, headers, body)
            query_id = question.query_id or query_id
            self._admit(question)
            pool = self._writers if _INSERT.match(question.query or question.body) else self._readers
            answer = await asyncio.get_running_loop().run_in_executor(pool, self._engine.run, question)
        except ClickHouseError as error:
            await self._refuse(send, error, query_id)
        else:
            await self._answer(send, question, answer, query_id)

    def _admit(self, question: Question) -> None:
        known = question.user == self._user and hmac.compare_digest(question.password.encode(), self._password.encode())
        if not known:
            reason = f"{question.user}: Authentication failed: password is incorrect, or there is no such user"
            raise ClickHouseError(AUTHENTICATION_FAILED, reason)

    async def _answer(self, send: Send, question: Question, answer: Answer, query_id: str) -> None:
        body, encoding = compress(answer.body, question.accepts)
        headers = self._headers(query_id)
        headers.append((b"x-clickhouse-format", answer.format.encode()))
        headers.append((b"content-type", CONTENT_TYPES.get(answer.format, "text/plain; charset=UTF-8").encode()))
        headers.append((b"x-clickhouse-summary", _summary(answer).encode()))
        if encoding:
            headers.append((b"content-encoding", encoding.encode()))
        await _respond(send, 200, headers, body)

    async def _refuse(self, send: Send, error: ClickHouseError, query_id: str) -> None:
        headers = self._headers(query_id)
        headers.append((b"x-clickhouse-exception-code", str(error.code).encode()))
        headers.append((b"content-type", b"text/plain; charset=UTF-8"))
        await _respond(send, error.status, headers, error.body(self._engine.version).encode(errors="replace"))

    def _headers(self, query_id: str) -> Headers:
        return [
            (b"x-clickhouse-server-display-name", self._host.encode()),
            (b"x-clickhouse-query-id", query_id.encode("latin-1", "replace")),
            (b"x-clickhouse-timezone", self._engine.timezone.encode()),
        ]


def _summary(answer: Answer) -> str:
    counts = {
        "read_rows": answer.read_rows,
        "read_bytes": answer.read_bytes,
        "written_rows": answer.written_rows,
        "written_bytes": answer.written_bytes,
        "total_rows_to_read": answer.read_rows,
        "result_rows": answer.result_rows,
        "result_bytes": len(answer.body),
        "elapsed_ns": int(answer.seconds * 1e9),
    }
    return json.dumps({name: str(count) for name, count in counts.items()}, separators=(",", ":"))


async def _body(receive: Receive) -> bytes:
    chunks: list[bytes] = []
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return b"".join(chunks)
        chunks.append(message.get("body", b""))
        if not message.get("more_body"):
            return b"".join(chunks)


async def _respond(send: Send, status: int, headers: Headers, body: bytes) -> None:
    length = (b"content-length", str(len(body)).encode())
    await send({"type": "http.response.start", "status": status, "headers": [*headers, length]})
    await send({"type": "http.response.body", "body": body})
