"""Where the brokers are -> what every client of Kafka is made with, and how faults call them."""

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True, slots=True)
class Brokers:
    """A cluster, as all processes are told of it."""

    servers: str
    """host:port, several separated by commas."""

    def __str__(self) -> str:
        return self.servers

    def options(self) -> dict[str, Any]:
        """The keyword arguments of aiokafka's clients."""
        return {"bootstrap_servers": self.servers}
