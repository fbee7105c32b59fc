"""Requests made to fill memory, hold threads or break parsers are refused in words, and the next one is served."""

import gzip
import json
import socket
import time
from collections.abc import Iterator
from typing import Any

import httpx
import pytest

from tests.millrace import Millrace
from tests.security.tenants import Tenant

pytestmark = pytest.mark.stack
MEGABYTE = 1024 * 1024
ZEROS = gzip.compress(b"0" * (200 * MEGABYTE), 9)  # a thousandth of its size
NESTED = b"[" * 200_000 + b"]" * 200_000
BOMBS: dict[str, tuple[bytes, dict[str, str]]] = {
    "gzip of zeros": (ZEROS, {"Content-Encoding": "gzip"}),
    "gzip in gzip": (gzip.compress(ZEROS), {"Content-Encoding": "gzip, gzip"}),
    "half a gzip": (ZEROS[:1000], {"Content-Encoding": "gzip"}),
    "unknown encoding": (b"{}", {"Content-Encoding": "br"}),
    "nested lists": (NESTED, {}),
    "nested objects": (b'{"a":' * 50_000 + b"1" + b"}" * 50_000, {}),
    "a number of 400,000 digits": (b'{"a": ' + b"9" * 400_000 + b"}", {}),
    "1e999": (b'{"type": "custom", "userId": "u", "event": "x", "properties": {"amount": 1e999}}', {}),
    "40,000 keys": (json.dumps(dict.fromkeys(map(str, range(40_000)))).encode(), {}),
    "not UTF-8": (b'{"a": "\xff\xfe"}', {}),
    "half a surrogate pair": (rb'{"type": "custom", "userId": "\ud800", "event": "\udfff"}', {}),
    "U+0000": (rb'{"type": "custom", "userId": "\u0000", "event": "a\u0000"}', {}),
    "nothing": (b"", {}),
    "10 MB": (b"[" + b" " * (10 * MEGABYTE) + b"]", {}),
}


def targets(millrace: Millrace, tenant: Tenant) -> Iterator[tuple[str, dict[str, Any]]]:
    """Addresses that take a body, each with who is allowed to send it."""
    api = f"http://127.0.0.1:{millrace.ports['API']}/api/cdp"
    for path in ("/segments", "/profiles/search", "/events", "/events/batch", "/consent", "/destinations"):
        yield api + path, {"headers": {"Authorization": f"Bearer {tenant.token}"}}
    for path in ("/v1/batch", "/v1/track"):
        yield millrace.gateway + path, {"headers": {}, "auth": (tenant.write_key, "")}


@pytest.mark.parametrize("name", BOMBS)
def test_a_bomb_is_refused_and_costs_little(millrace: Millrace, eve: Tenant, name: str) -> None:
    body, extra = BOMBS[name]
    served = [millrace.find("analytics-api"), millrace.find("ingest")]
    before = [process.memory_info().rss for process in served]
    for url, options in targets(millrace, eve):
        headers = {"Content-Type": "application/json", **options["headers"], **extra}
        began = time.monotonic()
        answer = eve.client.post(url, content=body, headers=headers, auth=options.get("auth"))
        assert answer.status_code < 500, f"{url}: {answer.status_code} {answer.text[:500]}"
        assert len(answer.content) < 50_000, f"{url} answers with {len(answer.content)} bytes"
        assert time.monotonic() - began < 10, url
    for process, was in zip(served, before, strict=True):
        assert process.memory_info().rss - was < 150 * MEGABYTE, f"{process.cmdline()[-1]} grew"
    assert eve.ask("GET", "/segments").is_success


def raw(port: int, request: bytes) -> bytes:
    """What the server says to these bytes; nothing when it hangs up."""
    with socket.create_connection(("127.0.0.1", port), timeout=15) as line:
        try:
            line.sendall(request)
            return line.recv(65_536)
        except ConnectionError:
            return b""


HEADS = {
    "one header of a megabyte": b"GET /api/cdp/health HTTP/1.1\r\nHost: x\r\nX-Long: " + b"a" * MEGABYTE + b"\r\n\r\n",
    "100,000 headers": b"GET /api/cdp/health HTTP/1.1\r\nHost: x\r\n" + b"X: y\r\n" * 100_000 + b"\r\n",
    "a path of a megabyte": b"GET /" + b"a" * MEGABYTE + b" HTTP/1.1\r\nHost: x\r\n\r\n",
    "two lengths": b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 3\r\nContent-Length: 5\r\n\r\nabcde",
    "length and chunks": b"POST /v1/track HTTP/1.1\r\nHost: x\r\nContent-Length: 5\r\n"
    b"Transfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
    "a header with a line break": b"GET / HTTP/1.1\r\nHost: x\r\nX-Request-Id: a\rSet-Cookie: b\r\n\r\n",
    "no HTTP": b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 500,
}


@pytest.mark.parametrize("server", ["API", "INGEST"])
@pytest.mark.parametrize("name", HEADS)
def test_an_odd_head_breaks_nothing(millrace: Millrace, eve: Tenant, name: str, server: str) -> None:
    said = raw(millrace.ports[server], HEADS[name])
    assert not said.startswith(b"HTTP/1.1 5"), said[:300]
    assert b"Set-Cookie: b" not in said
    assert eve.ask("GET", "/segments").is_success
    assert httpx.get(f"{millrace.gateway}/nothing").status_code == 404
