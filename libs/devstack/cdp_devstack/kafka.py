"""Kafka: a directory and a port in, the command of a real one-node Apache Kafka (KRaft) broker out."""

from __future__ import annotations

import asyncio
import logging
import shutil
import subprocess
import uuid
from base64 import urlsafe_b64encode
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from importlib.resources import files
from pathlib import Path

from aiokafka import AIOKafkaConsumer
from aiokafka.errors import KafkaError

from cdp_devstack.class_archive import class_archive
from cdp_devstack.errors import PartUnavailable, StackError
from cdp_devstack.jars import kafka_jars, zstandard
from cdp_devstack.java import java
from cdp_devstack.parts import free_ports
from cdp_devstack.process import Command
from cdp_devstack.tansu import tansu

HEAP = "512m"
# the optimising compiler would cost a small machine more than it ever gives back: half of the CPU of the first minutes
# -UsePerfData: nobody reads what it would write to /tmp, and leave there when killed
FLAGS = ["-XX:+UseSerialGC", "-XX:TieredStopAtLevel=1", "-XX:-UsePerfData", "-Djava.awt.headless=true"]

# The internal topics of a single node need one replica; with a short session a killed broker is back in 4 s, not 14 s.
SETTINGS = """\
process.roles=broker,controller
node.id=1
controller.listener.names=CONTROLLER
inter.broker.listener.name=PLAINTEXT
num.network.threads=2
num.io.threads=4
num.recovery.threads.per.data.dir=2
log.cleaner.dedupe.buffer.size=16777216
auto.create.topics.enable=false
delete.topic.enable=true
default.replication.factor=1
min.insync.replicas=1
offsets.topic.replication.factor=1
offsets.topic.num.partitions=4
transaction.state.log.replication.factor=1
transaction.state.log.min.isr=1
transaction.state.log.num.partitions=4
share.coordinator.state.topic.replication.factor=1
share.coordinator.state.topic.min.isr=1
share.coordinator.state.topic.num.partitions=4
group.initial.rebalance.delay.ms=0
broker.session.timeout.ms=1500
broker.heartbeat.interval.ms=300
message.max.bytes=8388608
"""


@dataclass(frozen=True)
class Listener:
    """One more door of the broker, for clients that encrypt or log in."""

    name: str
    port: int
    protocol: str
    settings: Mapping[str, str] = field(default_factory=dict)
    """Its own, as `ssl.client.auth`."""

    def lines(self) -> list[str]:
        """What is in the broker's settings for it alone."""
        return [f"listener.name.{self.name.lower()}.{key}={value}" for key, value in self.settings.items()]


class Kafka:
    """Apache Kafka from Maven's jars, on disk, reachable from this machine only."""

    def __init__(
        self,
        directory: Path,
        port: int,
        advertised: int | None = None,
        *,
        listeners: Sequence[Listener] = (),
        scram: Sequence[str] = (),
    ) -> None:
        """``advertised``: the port that clients are sent to, when something stands between them and the broker.

        ``scram``: whom the broker knows from its first start on, as `kafka-storage format --add-scram` takes them.
        """
        self._directory = directory
        self._port = port
        self._advertised = advertised or port
        self._listeners = listeners
        self._scram = scram

    @property
    def url(self) -> str:
        """The bootstrap server."""
        return f"127.0.0.1:{self._port}"

    def prepare(self) -> Command:
        """Fetch the jars, write the settings and format the storage once."""
        try:
            executable = java()
            jars = kafka_jars(executable)
        except PartUnavailable as missing:
            if self._listeners:
                raise  # it has one door
            return tansu(self._port, missing)
        return Command(
            self._argv(executable, jars, class_archive(executable, jars, partial(_training, executable, jars)))
        )

    def _argv(self, executable: str, jars: Path, options: list[str]) -> list[str]:
        """The broker's command, its storage formatted."""
        self._directory.mkdir(parents=True, exist_ok=True)
        settings = self._write_settings()
        logging_settings = self._directory / "log4j2.xml"
        logging_settings.write_bytes(files("cdp_devstack").joinpath("log4j2.xml").read_bytes())
        temporary = self._empty_temporary()
        run = [*FLAGS, f"-Djava.io.tmpdir={temporary}", f"-XX:ErrorFile={temporary}/hs_err.log"]
        run += [f"-DZstdNativePath={library}"] if (library := zstandard(jars)) else []
        run += [f"-Dlog4j2.configurationFile={logging_settings}", "-cp", f"{jars}/*"]
        self._format([executable, *_mapped(options), *run], settings)
        return [executable, f"-Xmx{HEAP}", f"-Xms{HEAP}", *options, *run, "kafka.Kafka", str(settings)]

    def probe(self) -> bool:
        """Whether metadata and the group coordinator answer."""
        return asyncio.run(_answers(self.url))

    def finish(self) -> None:
        """Nothing to create: topics are made by `cdp topics create`."""

    def _empty_temporary(self) -> Path:
        """Where libraries for lz4 and Snappy are unpacked at each start, and stay when it is killed."""
        temporary = self._directory / "tmp"
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir()
        return temporary

    def _write_settings(self) -> Path:
        controller = free_ports(1)[0]
        more = [f"{one.name}://127.0.0.1:{one.port}" for one in self._listeners]
        open_to = [f"PLAINTEXT://127.0.0.1:{self._port}", f"CONTROLLER://127.0.0.1:{controller}", *more]
        protocols = ["CONTROLLER:PLAINTEXT", "PLAINTEXT:PLAINTEXT"]
        protocols += [f"{one.name}:{one.protocol}" for one in self._listeners]
        own = [
            f"listeners={','.join(open_to)}",
            f"advertised.listeners={','.join([f'PLAINTEXT://127.0.0.1:{self._advertised}', *more])}",
            f"listener.security.protocol.map={','.join(protocols)}",
            f"controller.quorum.voters=1@127.0.0.1:{controller}",
            f"log.dirs={self._directory / 'data'}",
            *(line for one in self._listeners for line in one.lines()),
        ]
        path = self._directory / "server.properties"
        path.write_text(SETTINGS + "\n".join(own) + "\n")
        return path

    def _format(self, run: list[str], settings: Path) -> None:
        if (self._directory / "data" / "meta.properties").exists():
            return
        cluster = urlsafe_b64encode(uuid.uuid4().bytes).decode().rstrip("=")
        argv = [*run, "kafka.tools.StorageTool", "format", "--ignore-formatted"]
        # one argument with its value: an id may begin with a dash
        argv += [f"--cluster-id={cluster}", f"--config={settings}"]
        argv += [f"--add-scram={one}" for one in self._scram]
        done = subprocess.run(argv, capture_output=True, text=True, check=False)
        if done.returncode != 0:
            reason = (done.stderr or done.stdout or "no reason given").strip().splitlines()[-1]
            raise StackError(
                f"Kafka could not format its storage in {self._directory} ({reason}): "
                "start again with --fresh, or choose another data directory."
            )


def _training(executable: str, jars: Path, directory: Path, options: list[str]) -> tuple[list[str], Callable[[], bool]]:
    """A broker whose classes are to be kept."""
    broker = Kafka(directory, free_ports(1)[0])
    return broker._argv(executable, jars, options), broker.probe


def _mapped(options: list[str]) -> list[str]:
    """Without what would make an archive of the formatting, too."""
    return [option for option in options if "AtExit" not in option]


async def _answers(bootstrap: str) -> bool:
    """Join a group: that needs metadata, the coordinator and its topic."""
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)  # it logs each refused attempt while the broker starts
    consumer = AIOKafkaConsumer(bootstrap_servers=bootstrap, group_id="millrace-health", request_timeout_ms=2000)
    try:
        async with asyncio.timeout(5):
            await consumer.start()
            client = consumer._client
            await client.force_metadata_update()
            node = await client.coordinator_lookup(0, "millrace-health")
            return bool(await client.ready(node))
    except (KafkaError, OSError, TimeoutError):
        return False
    finally:
        await consumer.stop()
