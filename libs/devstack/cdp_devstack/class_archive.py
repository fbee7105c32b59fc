"""A JVM and Kafka's jars -> a running broker's classes in one file, which the next JVM maps instead of loading them.

A broker then starts with little more than half of the CPU and is there in half of the time.
"""

from __future__ import annotations

import fcntl
import subprocess
import tempfile
import time
from collections.abc import Callable
from hashlib import blake2b
from pathlib import Path

TRAINING_SECONDS = 60.0

# (folder, options of the JVM) -> the command of a broker there, and whether it answers
Broker = Callable[[Path, list[str]], tuple[list[str], Callable[[], bool]]]


def class_archive(executable: str, jars: Path, broker: Broker) -> list[str]:
    """The JVM's options; none where this JVM makes no archive. The first demand of a machine takes some seconds."""
    java = blake2b(str(Path(executable).resolve()).encode(), digest_size=6).hexdigest()
    archive = jars.parent / f"{jars.name}-{java}.jsa"
    with archive.with_suffix(".lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # a second start waits here for the first one's
        if not archive.exists():
            _train(archive, broker)
    # a JVM that was replaced meanwhile finds that the archive is not its own, and starts without it
    return [f"-XX:SharedArchiveFile={archive}", "-Xlog:cds=off"] if archive.stat().st_size else []


def _train(archive: Path, broker: Broker) -> None:
    """An archive that cannot be made stays empty, so that nobody tries again at each start."""
    with tempfile.TemporaryDirectory(dir=archive.parent, prefix="kafka-classes-") as directory:
        made = Path(directory) / "classes.jsa"
        argv, answers = broker(Path(directory) / "broker", [f"-XX:ArchiveClassesAtExit={made}"])
        process = subprocess.Popen(argv, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        try:
            deadline = time.monotonic() + TRAINING_SECONDS
            while process.poll() is None and not answers() and time.monotonic() < deadline:
                time.sleep(0.1)
            process.terminate()
            process.wait(TRAINING_SECONDS)
        except subprocess.TimeoutExpired:
            made.unlink(missing_ok=True)
        finally:
            process.kill()
            process.wait()
        if made.exists():
            made.rename(archive)  # all or nothing
        else:
            archive.touch()
