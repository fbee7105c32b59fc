"""Kafka's jars: a pom.xml in, a directory of jars in the cache out (fetched by Maven, once also when starts race).

Beside them, once unpacked, the library that the JVM loads from one of them.
"""

from __future__ import annotations

import fcntl
import os
import platform
import shutil
import subprocess
import tempfile
from importlib.resources import files
from pathlib import Path
from typing import Final
from zipfile import ZipFile

from cdp_devstack.errors import PartUnavailable, StackError

KAFKA_VERSION = "4.3.0"
MAVEN_SECONDS = 600
# how the jar of Zstandard's library calls this machine
_MACHINES: Final = {
    ("Linux", "x86_64"): "linux/amd64",
    ("Linux", "aarch64"): "linux/aarch64",
    ("Darwin", "arm64"): "darwin/aarch64",
    ("Darwin", "x86_64"): "darwin/x86_64",
}


def cache_directory() -> Path:
    """Where downloads are kept between checkouts: CDP_CACHE_DIR, else the user's cache."""
    chosen = os.environ.get("CDP_CACHE_DIR")
    return Path(chosen).expanduser() if chosen else Path.home() / ".cache" / "millrace"


def kafka_jars(java: str) -> Path:
    """The directory with the broker's jars, fetched if it is not there yet."""
    target = cache_directory() / f"kafka-{KAFKA_VERSION}"
    if target.is_dir():
        return target
    maven = shutil.which("mvn")
    if not maven:
        raise PartUnavailable(
            "Maven (mvn), which fetches Kafka, is missing: install it, or set CDP_KAFKA_BOOTSTRAP_SERVERS."
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with (target.parent / "kafka.lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second start waits here for the first one's download
        if not target.is_dir():
            _fetch(maven, java, target)
    return target


def zstandard(jars: Path) -> Path | None:
    """Zstandard's library beside the jars; None where the JVM has to find the one for this machine.

    It would unpack it for the first batch that needs it, and refuse all of them until it is started again when there
    was no room on the disk at that moment.
    """
    machine = _MACHINES.get((platform.system(), platform.machine()))
    if machine is None:
        return None
    target = jars / "libzstd-jni"
    if not target.exists():
        unpacked = jars / f"libzstd-jni.{os.getpid()}"
        with ZipFile(next(jars.glob("zstd-jni-*.jar"))) as jar:
            name = next(name for name in jar.namelist() if name.startswith(f"{machine}/libzstd"))
            unpacked.write_bytes(jar.read(name))
        unpacked.rename(target)  # all or nothing
    return target


def _fetch(maven: str, java: str, target: Path) -> None:
    with tempfile.TemporaryDirectory(dir=target.parent, prefix="kafka-fetch-") as directory:
        pom, jars = Path(directory) / "pom.xml", Path(directory) / "jars"
        pom.write_bytes(files("cdp_devstack").joinpath("pom.xml").read_bytes())
        argv = [maven, "-q", "-B", "-f", str(pom), "dependency:copy-dependencies"]
        argv += [f"-DoutputDirectory={jars}", "-DincludeScope=runtime"]
        problem = _run_maven(argv, java)
        if problem or not any(jars.glob("kafka_*.jar")):
            raise StackError(
                f"Maven could not fetch Kafka {KAFKA_VERSION} ({problem or 'no jars came'}): check the network and "
                "Maven's settings.xml and start again, or set CDP_KAFKA_BOOTSTRAP_SERVERS."
            )
        jars.rename(target)  # all or nothing


def _run_maven(argv: list[str], java: str) -> str:
    """What went wrong, in Maven's words; empty when nothing did."""
    environment = {"JAVA_HOME": str(Path(java).resolve().parent.parent)} if not shutil.which("java") else {}
    try:
        done = subprocess.run(
            argv, capture_output=True, text=True, timeout=MAVEN_SECONDS, check=False, env={**os.environ, **environment}
        )
    except subprocess.TimeoutExpired:
        return f"it took more than {MAVEN_SECONDS} s"
    if done.returncode == 0:
        return ""
    errors = [line for line in (done.stdout + done.stderr).splitlines() if line.startswith("[ERROR]")]
    return errors[0].removeprefix("[ERROR]").strip()[:300] if errors else f"exit code {done.returncode}"
