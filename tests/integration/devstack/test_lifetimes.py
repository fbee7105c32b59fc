"""How the stack begins and ends: no orphans, a second start continues, a taken directory and broken data are told."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import httpx
import psutil
import psycopg
import pytest

from cdp_devstack.errors import StackError
from cdp_devstack.parts import Part, Ports
from cdp_devstack.stack import LocalStack

QUICK = frozenset({Part.POSTGRES, Part.CLICKHOUSE, Part.REDIS})

PARENT = """
import asyncio, sys
from pathlib import Path
from cdp_devstack.parts import Part, Ports
from cdp_devstack.stack import LocalStack

async def main():
    parts = frozenset(Part(name) for name in sys.argv[2].split(","))
    async with LocalStack(Path(sys.argv[1]), parts=parts, ports=Ports.free()) as stack:
        sys.stdout.write("ready\\n")
        sys.stdout.flush()
        await asyncio.sleep(600)

asyncio.run(main())
"""


@pytest.fixture
def environment() -> dict[str, str]:
    """Ours without the URLs of parts that are given from outside."""
    return {name: value for name, value in os.environ.items() if not name.startswith("CDP_") or "CACHE" in name}


@pytest.fixture
def ports() -> Ports:
    return Ports.free()


@pytest.fixture
def cdp_up(tmp_path: Path, environment: dict[str, str], ports: Ports) -> Iterator[Callable[..., subprocess.Popen[str]]]:
    """Starts `cdp up` on the ports."""
    started: list[subprocess.Popen[str]] = []
    own = {f"CDP_{part.value.upper()}_PORT": str(ports.of(part)) for part in Part}

    def up(*options: str) -> subprocess.Popen[str]:
        argv = [sys.executable, str(Path(sys.executable).with_name("cdp")), "up", "--data-dir", str(tmp_path / "data")]
        process = subprocess.Popen(
            [*argv, *options], env=environment | own, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True
        )
        started.append(process)
        return process

    yield up
    for process in started:
        process.kill()
        process.communicate()


def until(says: str, process: subprocess.Popen[str]) -> str:
    """What it printed up to and with the line that says so."""
    assert process.stdout
    lines = []
    for line in process.stdout:
        lines.append(line)
        if says in line:
            return "".join(lines)
    pytest.fail(f"{says!r} was not said:\n{''.join(lines)}")


def gone(processes: list[psutil.Process], seconds: float) -> bool:
    _, alive = psutil.wait_procs(processes, timeout=seconds)
    return not [process for process in alive if process.status() != psutil.STATUS_ZOMBIE]


@pytest.mark.stack
@pytest.mark.kafka
def test_kill_9_of_the_parent_leaves_no_orphans(tmp_path: Path, environment: dict[str, str]) -> None:
    argv = [sys.executable, "-c", PARENT, str(tmp_path / "data"), ",".join(Part)]
    parent = subprocess.Popen(argv, env=environment, stdout=subprocess.PIPE, text=True)
    until("ready", parent)
    children = psutil.Process(parent.pid).children(recursive=True)
    assert len(children) >= 4
    parent.send_signal(signal.SIGKILL)
    parent.communicate()
    assert gone(children, 10)


@pytest.mark.stack
async def test_a_second_start_continues_with_the_data(tmp_path: Path) -> None:
    ports = Ports.free()
    async with LocalStack(tmp_path, parts=QUICK, ports=ports) as stack:
        urls = stack.environment
        with psycopg.connect(urls["CDP_POSTGRES_URL"], autocommit=True) as connection:
            connection.execute("CREATE TABLE kept AS SELECT 42 AS a")
        ask(ports, "CREATE TABLE kept ENGINE = MergeTree ORDER BY a AS SELECT 42 AS a")
    async with LocalStack(tmp_path, parts=QUICK, ports=ports) as stack:
        assert stack.environment == urls
        with psycopg.connect(urls["CDP_POSTGRES_URL"]) as connection:
            assert connection.execute("SELECT a FROM kept").fetchone() == (42,)
        assert ask(ports, "SELECT a FROM kept") == "42\n"
    async with LocalStack(tmp_path, parts=QUICK, ports=ports, fresh=True):
        assert "UNKNOWN_TABLE" in ask(ports, "SELECT a FROM kept")


@pytest.mark.stack
async def test_a_held_directory_names_its_holder(tmp_path: Path) -> None:
    async with LocalStack(tmp_path, parts=frozenset(), ports=Ports.free()):
        with pytest.raises(StackError, match=rf"in use by process {os.getpid()}"):
            await LocalStack(tmp_path, parts=frozenset(), ports=Ports.free()).start()


@pytest.mark.stack
async def test_damaged_data_is_one_sentence_and_nothing_is_left_running(tmp_path: Path) -> None:
    ports = Ports.free()
    async with LocalStack(tmp_path, parts=frozenset({Part.POSTGRES}), ports=ports):
        pass
    (tmp_path / "postgres" / "data" / "global" / "pg_control").write_bytes(b"damaged")
    with pytest.raises(StackError, match=r"postgres ended at once .* --fresh"):
        await LocalStack(tmp_path, parts=QUICK, ports=ports).start()
    assert not psutil.Process().children(recursive=True) or not [
        child for child in psutil.Process().children(recursive=True) if str(tmp_path) in " ".join(child.cmdline())
    ]


@pytest.mark.stack
@pytest.mark.kafka
def test_cdp_up_shows_its_addresses_restarts_what_dies_and_stops_on_ctrl_c(
    cdp_up: Callable[..., subprocess.Popen[str]],
) -> None:
    process = cdp_up("--only", "infra")
    said = until("Ctrl-C stops everything", process)
    assert all(name in said for name in ("Kafka", "Postgres", "ClickHouse", "Redis", "CDP_CLICKHOUSE_URL"))
    children = psutil.Process(process.pid).children(recursive=True)
    redis = next(child for child in children if "redis-server" in child.name())
    redis.kill()
    until("redis: ready", process)
    began = time.monotonic()
    children = psutil.Process(process.pid).children(recursive=True)
    process.send_signal(signal.SIGINT)
    assert process.wait(30) == 0
    assert time.monotonic() - began < 15
    assert gone(children, 1)


@pytest.mark.stack
def test_cdp_up_tells_a_taken_port_in_one_sentence(cdp_up: Callable[..., subprocess.Popen[str]], ports: Ports) -> None:
    with socket.create_server(("127.0.0.1", ports.postgres)):
        process = cdp_up("--only", "infra")
        out, _ = process.communicate(timeout=60)
    assert process.returncode == 1
    assert str(ports.postgres) in out.splitlines()[-1]
    assert "is taken by another program" in out.splitlines()[-1]
    assert "Traceback" not in out


def ask(ports: Ports, query: str) -> str:
    address = f"http://127.0.0.1:{ports.clickhouse}/?database=cdp"
    return httpx.post(address, content=query, trust_env=False).text
