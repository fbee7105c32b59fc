"""Processes whose every dependency fails: neither their logs, nor their probes, nor their answers tell a secret."""

import asyncio
import contextlib
import re
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from cdp_runtime.run import service_names
from tests.processes import CdpProcess, environment, until

SECRETS = {
    "CDP_SECRET_KEY": "canary-of-the-secret-key-0123456789",
    "CDP_POSTGRES_URL": "canary-of-postgres",
    "CDP_CLICKHOUSE_URL": "canary-of-clickhouse",
    "CDP_REDIS_URL": "canary-of-redis",
    "CDP_KAFKA_SASL_PASSWORD": "canary-of-kafka",
    "token": "canary-of-a-token",
    "write key": "canary-of-a-write-key",
    "credential": "whsec_Y2FuYXJ5LW9mLWEtY3JlZGVudGlhbC4u",
}


class Nonsense:
    """A server that answers whatever comes with words that are no protocol, and hangs up."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._serve, daemon=True).start()

    def close(self) -> None:
        self._listener.close()

    def _serve(self) -> None:
        with contextlib.suppress(OSError):  # the listener was closed
            while True:
                caller, _ = self._listener.accept()
                with contextlib.suppress(OSError), caller:
                    caller.recv(65_536)
                    caller.sendall(b"HTTP/1.1 500 No\r\ncontent-length: 8\r\n\r\nnonsense")


@pytest.fixture(params=["nobody listens", "nonsense answers"])
def port(request: pytest.FixtureRequest) -> Iterator[int]:
    """Where all dependencies are said to be."""
    if request.param == "nobody listens":
        yield 1
        return
    server = Nonsense()
    yield server.port
    server.close()


@pytest.fixture
def processes(port: int, tmp_path: Path) -> Iterator[dict[str, CdpProcess]]:
    """Every process of the program, started side by side with secrets of their own."""
    settings = environment(
        CDP_KAFKA_BOOTSTRAP_SERVERS=f"127.0.0.1:{port}",
        CDP_KAFKA_SECURITY_PROTOCOL="SASL_PLAINTEXT",
        CDP_KAFKA_SASL_MECHANISM="PLAIN",
        CDP_KAFKA_SASL_USERNAME="millrace",
        CDP_KAFKA_SASL_PASSWORD=SECRETS["CDP_KAFKA_SASL_PASSWORD"],
        CDP_POSTGRES_URL=f"postgresql://cdp:{SECRETS['CDP_POSTGRES_URL']}@127.0.0.1:{port}/cdp",
        CDP_CLICKHOUSE_URL=f"http://default:{SECRETS['CDP_CLICKHOUSE_URL']}@127.0.0.1:{port}/cdp",
        CDP_REDIS_URL=f"redis://:{SECRETS['CDP_REDIS_URL']}@127.0.0.1:{port}/0",
        CDP_SECRET_KEY=SECRETS["CDP_SECRET_KEY"],
        CDP_INGEST_PORT="0",
        CDP_API_PORT="0",
        CDP_LOG_LEVEL="debug",
        CDP_DATA_DIR=str(tmp_path),
    )
    running = {name: CdpProcess(["run", name], settings, tmp_path / f"{name}.log") for name in service_names()}
    for process in running.values():
        process.start()
    yield running
    for process in running.values():
        process.close()


@pytest.mark.slow
def test_no_failure_tells_a_secret(processes: dict[str, CdpProcess]) -> None:
    for process in processes.values():
        until(lambda process=process: bool(process.admin), 120)  # type: ignore[misc]
    door, gateway = (
        served(processes["analytics-api"], "front_door_open"),
        served(processes["ingest"], "gateway_listening"),
    )
    said = asyncio.run(answers(door, gateway))
    until(lambda: sum('"level": "warning"' in process.log.read_text() for process in processes.values()) >= 3, 120)
    said |= {name: process.log.read_text(errors="replace") for name, process in processes.items()}
    said |= {f"{name} /readyz": httpx.get(f"{process.admin}/readyz").text for name, process in processes.items()}
    for place, text in said.items():
        told = {name for name, secret in SECRETS.items() if secret in text}
        assert not told, f"{place} tells {told}"


async def answers(door: str, gateway: str) -> dict[str, str]:
    """What strangers are told at the front door and at the gateway, by who they said they were."""
    token = {"Authorization": f"Bearer {SECRETS['token']}"}
    webhook = {"name": "x", "type": "webhook", "credentials": {"secret": SECRETS["credential"]}, "settings": 7}
    async with httpx.AsyncClient(timeout=30) as client:
        asked = {
            "GET /stats": client.get(f"{door}/api/cdp/stats", headers=token),
            "GET stream": client.get(f"{door}/api/cdp/events/stream", params={"token": SECRETS["token"]}),
            "POST /destinations": client.post(f"{door}/api/cdp/destinations", headers=token, json=webhook),
            "PUT no JSON": client.put(f"{door}/api/cdp/destinations/x", headers=token, content=str(webhook)),
            "GET nothing": client.get(f"{door}/api/cdp/{SECRETS['token']}%00", headers=token),
            "track": client.post(f"{gateway}/v1/track", json={"event": "x"}, auth=(SECRETS["write key"], "")),
            "track no JSON": client.post(f"{gateway}/v1/track", content=b"{", auth=(SECRETS["write key"], "")),
        }
        told = await asyncio.gather(*asked.values())
    return {
        name: f"{answer.text} {answer.headers}"
        for name, answer in zip(asked, told, strict=True)
        if name != "GET nothing"  # which repeats the path that was asked for
    }


def served(process: CdpProcess, event: str) -> str:
    """Where a process listens, once it has logged it: not before it has an admin page."""
    line = re.compile(rf'^.*"{event}".*$', re.MULTILINE)
    until(lambda: line.search(process.log.read_text()) is not None, 120)
    said = line.search(process.log.read_text())
    assert said is not None
    found = re.search(r'"port": (\d+)', said.group())
    assert found is not None, said.group()
    return f"http://127.0.0.1:{found.group(1)}"
