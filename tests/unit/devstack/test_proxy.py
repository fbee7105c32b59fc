"""Behind a proxy (HTTP_PROXY), what runs on this machine is asked without it, and everything else as before."""

import os
import subprocess
import sys
from http.server import BaseHTTPRequestHandler, HTTPServer
from pathlib import Path
from threading import Thread

import pytest
from rich.console import Console

from cdp_devstack.up import Options, Up

# as a service does, as the SDK of the demo does, and somebody who is elsewhere
ASK = """
import asyncio, sys
import requests
from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.errors import StoreRefused
from cdp_clickhouse.statement import Statement

here = sys.argv[1]
try:
    asyncio.run(ClickHouse(here).command(Statement("SELECT 1")))
except StoreRefused as answered:
    print(answered.code)
print(requests.post(here).status_code)
try:
    requests.post("http://elsewhere.example")
except requests.exceptions.ProxyError:
    print("proxy")
"""


class Refusing(BaseHTTPRequestHandler):
    """Some server on this machine."""

    def do_POST(self) -> None:
        self.send_response(404)
        self.send_header("X-ClickHouse-Exception-Code", "81")
        self.send_header("Content-Length", "0")
        self.end_headers()

    def log_message(self, *_: object) -> None:
        """Nothing."""


@pytest.mark.parametrize("others", ["", "intranet.example"])
def test_a_proxy_is_not_asked_for_this_machine(others: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("HTTP_PROXY", "http_proxy"):
        monkeypatch.setenv(name, "http://127.0.0.1:1")
    monkeypatch.delenv("no_proxy", raising=False)
    monkeypatch.setenv("NO_PROXY", others)
    environment = os.environ | Up(Options(tmp_path), Console())._environment()
    assert others in environment["no_proxy"]
    with HTTPServer(("127.0.0.1", 0), Refusing) as server:
        Thread(target=server.serve_forever, daemon=True).start()
        here = f"http://127.0.0.1:{server.server_port}/"
        asked = subprocess.run(
            [sys.executable, "-c", ASK, here], env=environment, capture_output=True, text=True, timeout=60, check=True
        )
        server.shutdown()
    assert asked.stdout.split() == ["81", "404", "proxy"]
