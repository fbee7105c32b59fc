"""The words of the stack: its parts, their ports and the port of code that every part implements."""

from __future__ import annotations

import os
import random
import socket
from collections.abc import Mapping
from dataclasses import dataclass, fields
from enum import StrEnum
from typing import Final, Protocol

from cdp_devstack.errors import StackError
from cdp_devstack.process import Command

_SERVERS: Final = range(15_000, 32_000)  # below what Linux (32768 on) and macOS (49152 on) give to connections
_chance: Final = random.SystemRandom()  # not the seeded one: two test runs of one seed would draw the same


class Part(StrEnum):
    """What the services need around them."""

    KAFKA = "kafka"
    POSTGRES = "postgres"
    CLICKHOUSE = "clickhouse"
    REDIS = "redis"


ALL_PARTS = frozenset(Part)

URL_VARIABLES: Mapping[Part, str] = {
    Part.KAFKA: "CDP_KAFKA_BOOTSTRAP_SERVERS",
    Part.POSTGRES: "CDP_POSTGRES_URL",
    Part.CLICKHOUSE: "CDP_CLICKHOUSE_URL",
    Part.REDIS: "CDP_REDIS_URL",
}


class LocalPart(Protocol):
    """One part of the stack, as a recipe; the stack owns the process. All methods block and may raise StackError."""

    @property
    def url(self) -> str:
        """Where services find it: the value of its variable in URL_VARIABLES."""

    def prepare(self) -> Command:
        """Everything that must be on disk before the process starts (safe to repeat); returns what to run."""

    def probe(self) -> bool:
        """Whether it really answers a request now; never raises for a part that is still starting."""

    def finish(self) -> None:
        """What can only be done once it answers (its database); safe to repeat."""


@dataclass(frozen=True)
class Ports:
    """One TCP port of 127.0.0.1 per part."""

    kafka: int = 9092
    postgres: int = 5433
    clickhouse: int = 8123
    redis: int = 6380

    @classmethod
    def from_environment(cls, environment: Mapping[str, str] = os.environ) -> Ports:
        """The defaults, unless CDP_KAFKA_PORT and its like say otherwise."""
        return cls(**{f.name: chosen_port(f"CDP_{f.name.upper()}_PORT", f.default, environment) for f in fields(cls)})

    @classmethod
    def free(cls) -> Ports:
        """Ports nobody uses at the moment, for tests."""
        kafka, postgres, clickhouse, redis = free_ports(4)
        return cls(kafka, postgres, clickhouse, redis)

    def of(self, part: Part) -> int:
        """The port of one part."""
        port: int = getattr(self, part.value)
        return port


def chosen_port(variable: str, default: object, environment: Mapping[str, str] = os.environ) -> int:
    """What a variable says, or the default. Raises StackError for what is no port."""
    value = environment.get(variable, str(default))
    if not value.isdigit() or not 0 < int(value) < 65536:
        raise StackError(f"{variable}={value!r} is not a port; give a number between 1 and 65535.")
    return int(value)


def without_proxy(environment: Mapping[str, str] = os.environ) -> dict[str, str]:
    """The variable that keeps what is on this machine off the proxy that others are asked through, if there is one."""
    others = environment.get("no_proxy") or environment.get("NO_PROXY")
    return {"no_proxy": f"{others},127.0.0.1" if others else "127.0.0.1"}


def free_ports(count: int) -> list[int]:
    """So many different free ports, none that the system gives to connections: one would take it before a server does.

    Drawn, so that two stacks that start at once do not find the same ones.
    """
    found: set[int] = set()
    while len(found) < count:
        if is_free(port := _chance.choice(_SERVERS)):
            found.add(port)
    return list(found)


def is_free(port: int) -> bool:
    """Whether a server could listen on it now."""
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except OSError:
            return False
    return True
