"""Every expected fault of the stack is one sentence that says what to do."""

from __future__ import annotations

import os
import re
import shutil
import socket
from collections import namedtuple
from concurrent.futures import ThreadPoolExecutor
from io import StringIO
from pathlib import Path

import pytest
import typer
from rich.console import Console
from typer.testing import CliRunner

from cdp_devstack import java as java_module
from cdp_devstack import programs, redis
from cdp_devstack.command import up
from cdp_devstack.datadir import DataDir
from cdp_devstack.demo.command import demo
from cdp_devstack.errors import PartUnavailable, StackError
from cdp_devstack.jars import cache_directory, kafka_jars
from cdp_devstack.parts import Part, Ports, free_ports, is_free
from cdp_devstack.screen import Screen, addresses
from cdp_devstack.stack import LocalStack
from cdp_devstack.supervisor import MOST_RESTARTS, Patience
from cdp_devstack.up import PORT_DEFAULTS

UP, DEMO = typer.Typer(), typer.Typer()
UP.command()(up)
DEMO.command()(demo)
Usage = namedtuple("Usage", "total used free")


def test_ports_come_from_the_environment() -> None:
    assert Ports.from_environment({}) == Ports(9092, 5433, 8123, 6380)
    assert Ports.from_environment({"CDP_REDIS_PORT": "7000"}).of(Part.REDIS) == 7000


@pytest.mark.parametrize("value", ["x", "0", "65536", "", "-1"])
def test_a_port_that_is_none_names_its_variable(value: str) -> None:
    with pytest.raises(StackError, match="CDP_KAFKA_PORT="):
        Ports.from_environment({"CDP_KAFKA_PORT": value})


@pytest.mark.parametrize("variable", ["CDP_INGEST_PORT", "CDP_API_PORT", "CDP_STANDIN_PORT", "CDP_ADMIN_PORT"])
def test_a_port_of_ours_that_is_none_is_told_before_anything_starts(
    variable: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, "http")
    told = CliRunner().invoke(UP, ["--data-dir", str(tmp_path / "data")])
    assert told.exit_code == 1
    assert told.stderr == f"{variable}='http' is not a port; give a number between 1 and 65535.\n"
    assert not (tmp_path / "data").exists()


def test_a_demo_without_a_stack_is_told_what_to_start(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("os.environ", os.environ | {"CDP_API_PORT": "1", "CDP_INGEST_PORT": "1"})
    told = CliRunner().invoke(DEMO, ["--once"])
    assert (told.exit_code, told.stdout) == (1, "")
    assert re.fullmatch(r"The front door at http://127\.0\.0\.1:1/\S+ does not answer .*`cdp up`.*\n", told.stderr)


def test_free_ports_are_free_and_different() -> None:
    ports = free_ports(20)
    assert len(set(ports)) == 20
    assert all(is_free(port) for port in ports)


def test_free_ports_are_none_that_a_connection_takes_meanwhile() -> None:
    given = Path("/proc/sys/net/ipv4/ip_local_port_range")
    if not given.exists():
        pytest.skip("this system does not say which ports it gives to connections")
    first = int(given.read_text().split()[0])
    assert max(free_ports(50)) < first


async def test_a_taken_port_names_its_variable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CDP_REDIS_URL", raising=False)
    monkeypatch.setattr("cdp_devstack.stack.PORT_SECONDS", 0.1)
    with socket.create_server(("127.0.0.1", 0)) as taken:
        ports = Ports(redis=taken.getsockname()[1])
        with pytest.raises(StackError, match=r"is taken by another program.*CDP_REDIS_PORT"):
            await LocalStack(tmp_path, parts=frozenset({Part.REDIS}), ports=ports).start()


async def test_a_part_that_is_given_is_not_started(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    url, said = "redis://:sesame@elsewhere:1/0", Console(file=StringIO())
    monkeypatch.setenv("CDP_REDIS_URL", url)
    async with LocalStack(tmp_path, parts=frozenset({Part.REDIS}), on_progress=Screen(said).say) as stack:
        assert stack.process(Part.REDIS) is None
        assert stack.environment["CDP_REDIS_URL"] == url
        said.print(addresses(stack.started, [], dict.fromkeys(PORT_DEFAULTS, "1")))
    shown = said.file.getvalue()  # type: ignore[attr-defined]
    assert shown.count("given by CDP_REDIS_URL") == 2 and "sesame" not in shown


def test_somebody_elses_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.txt").write_text("mine")
    with pytest.raises(StackError, match="not Millrace's"):
        DataDir(tmp_path).acquire()
    assert (tmp_path / "thesis.txt").read_text() == "mine"


def test_fresh_empties_only_what_is_held(tmp_path: Path) -> None:
    directory = DataDir(tmp_path / "data")
    with pytest.raises(StackError, match="was not emptied"):
        directory.empty()
    directory.acquire()
    (directory.path / "kafka" / "data").mkdir(parents=True)
    (directory.path / "link").symlink_to(tmp_path)
    directory.empty()
    assert [entry.name for entry in directory.path.iterdir()] == [".millrace"]
    assert tmp_path.exists()
    directory.release()


def test_a_full_disk_says_how_much_is_missing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(shutil, "disk_usage", lambda path: Usage(10**9, 10**9 - 10**6, 10**6))
    with pytest.raises(StackError, match=r"Only 1 MB are free .* 500 MB are needed"):
        DataDir(tmp_path / "data").acquire()


def test_a_file_in_place_of_the_directory(tmp_path: Path) -> None:
    (tmp_path / "data").write_text("")
    with pytest.raises(StackError, match="cannot be used"):
        DataDir(tmp_path / "data").acquire()


def test_without_java(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr(java_module, "_bundled", lambda: None)
    with pytest.raises(PartUnavailable, match=r"no Java 17.*CDP_KAFKA_BOOTSTRAP_SERVERS"):
        java_module.java()


def test_an_old_java_is_passed_over_for_the_bundled_one(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    old = tmp_path / "java"
    old.write_text("#!/bin/sh\necho 'openjdk version \"1.8.0_392\"' >&2\n")
    old.chmod(0o755)
    monkeypatch.delenv("JAVA_HOME", raising=False)
    monkeypatch.setenv("PATH", f"{tmp_path}:/bin:/usr/bin")
    assert java_module.major_version(str(old)) == 8
    assert java_module.java() != str(old)


def test_without_maven(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setenv("CDP_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(PartUnavailable, match="Maven"):
        kafka_jars("java")


def test_a_failing_maven_is_quoted_and_leaves_no_half_cache(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text("#!/bin/sh\necho '[ERROR] Could not resolve kafka'\nexit 1\n")
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:/bin:/usr/bin")
    monkeypatch.setenv("CDP_CACHE_DIR", str(tmp_path / "cache"))
    with pytest.raises(StackError, match=r"Could not resolve kafka.*check the network"):
        kafka_jars("java")
    assert [entry.name for entry in cache_directory().iterdir()] == ["kafka.lock"]


def test_without_redis(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("PATH", str(tmp_path))
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(PartUnavailable, match=r"no redis-server.*CDP_REDIS_URL"):
        redis.executable()


def test_patience_grows_and_ends() -> None:
    patience = Patience()
    pauses = [patience.pause(now=float(second)) for second in range(MOST_RESTARTS)]
    assert pauses == sorted(pauses)  # type: ignore[type-var]
    assert patience.pause(now=6.0) is None
    assert Patience().pause(now=0.0) == pauses[0]


def test_patience_forgets_after_a_minute() -> None:
    patience = Patience()
    for second in range(MOST_RESTARTS):
        patience.pause(now=float(second))
    assert patience.pause(now=100.0) == Patience().pause(now=0.0)


def test_services_are_visible_by_name_and_have_their_own_admin_port() -> None:
    found = programs.services({"CDP_X": "1"}, list(range(9101, 9120)))
    assert [program.name for program in found] == programs.service_names()
    for program in found:
        assert list(program.command.argv[-2:]) == ["run", program.name]
        assert program.command.environment == {"CDP_X": "1", "CDP_ADMIN_PORT": str(program.admin_port)}
    assert len({program.admin_port for program in found}) == len(found)


def test_two_starts_at_the_same_time_fetch_kafka_once(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    maven = tmp_path / "bin" / "mvn"
    maven.parent.mkdir()
    maven.write_text(
        "#!/bin/sh\necho once >> " + str(tmp_path / "calls") + "\nfor a in $@; do case $a in -DoutputDirectory=*) "
        'd=${a#*=}; mkdir -p "$d"; sleep 0.3; touch "$d/kafka_2.13-4.3.0.jar";; esac; done\n'
    )
    maven.chmod(0o755)
    monkeypatch.setenv("PATH", f"{maven.parent}:/bin:/usr/bin")
    monkeypatch.setenv("CDP_CACHE_DIR", str(tmp_path / "cache"))
    with ThreadPoolExecutor(3) as pool:
        found = set(pool.map(kafka_jars, ["java"] * 3))
    assert [entry.name for entry in found.pop().iterdir()] == ["kafka_2.13-4.3.0.jar"]
    assert (tmp_path / "calls").read_text() == "once\n"
