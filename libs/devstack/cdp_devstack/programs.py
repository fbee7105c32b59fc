"""The processes of Millrace itself: installed entry points in, commands that show as `cdp run <name>` out."""

from __future__ import annotations

import signal
import sys
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.metadata import entry_points
from pathlib import Path

from cdp_devstack.process import BEHIND_THE_DOOR, FIRST, Command

ORDER = ("ingest", "resolver", "recorder", "segmenter", "activation", "analytics-api")
AT_THE_DOOR = {"ingest": 0, "analytics-api": FIRST}  # somebody waits for their answers
DRAIN_SECONDS = 40.0  # a service gives its own work 30 s and a little


@dataclass(frozen=True)
class Program:
    """One process of ours."""

    name: str
    command: Command
    admin_port: int = 0
    """Where its /readyz is; 0 for a process without one."""


def cdp(*arguments: str) -> list[str]:
    """The command line of the program `cdp` of this very Python."""
    script = Path(sys.executable).with_name("cdp")
    program = [str(script)] if script.is_file() else ["-m", "cdp_runtime.start"]
    return [sys.executable, *program, *arguments]


def service_names() -> list[str]:
    """The installed services, in the order of the flow."""
    names = {entry.name for entry in entry_points(group="cdp.services")}
    return sorted(names, key=lambda name: (ORDER.index(name) if name in ORDER else len(ORDER), name))


def services(environment: Mapping[str, str], admin_ports: list[int]) -> list[Program]:
    """One program per service, each with an admin port."""
    return [
        Program(name, _service(name, {**environment, "CDP_ADMIN_PORT": str(port)}), port)
        for name, port in zip(service_names(), admin_ports, strict=False)
    ]


def local_processes(environment: Mapping[str, str]) -> list[Program]:
    """What only the local stack has, for example the stand-in for the marketing platforms."""
    names = sorted({entry.name for entry in entry_points(group="cdp.local_processes")})
    return [Program(name, _ours(["run-local", name], environment)) for name in names]


def _service(name: str, environment: Mapping[str, str]) -> Command:
    return _ours(["run", name], environment, AT_THE_DOOR.get(name, BEHIND_THE_DOOR))


def _ours(arguments: list[str], environment: Mapping[str, str], niceness: int = 0) -> Command:
    # SIGTERM, not SIGKILL, when the parent is gone: the gateway has workers of its own to take along.
    return Command(
        cdp(*arguments), environment, stop_seconds=DRAIN_SECONDS, death_signal=signal.SIGTERM, niceness=niceness
    )
