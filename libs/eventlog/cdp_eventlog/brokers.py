"""Where the brokers are and how to log in -> what every client of Kafka is made with, and how faults call them."""

import ssl
from dataclasses import dataclass, field
from typing import Any


@dataclass(frozen=True, slots=True)
class Login:
    """Who a client says it is, by SASL."""

    mechanism: str
    """PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512."""

    username: str
    password: str = field(repr=False)


@dataclass(frozen=True, slots=True)
class Brokers:
    """A cluster, as all processes are told of it."""

    servers: str
    """host:port, several separated by commas."""

    tls: ssl.SSLContext | None = None
    """Whom to trust, and the client's own certificate if it has one; None for plain text."""

    login: Login | None = None

    def __str__(self) -> str:
        return self.servers

    @property
    def protocol(self) -> str:
        """Kafka's name for it: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL."""
        return f"{'SASL_' if self.login else ''}{'SSL' if self.tls else 'PLAINTEXT'}"

    def options(self) -> dict[str, Any]:
        """The keyword arguments of aiokafka's clients."""
        return {"bootstrap_servers": self.servers, **self.security()}

    def security(self) -> dict[str, Any]:
        """Those of a single connection of aiokafka's."""
        chosen: dict[str, Any] = {"security_protocol": self.protocol, "ssl_context": self.tls}
        if self.login is not None:
            chosen["sasl_mechanism"] = self.login.mechanism
            chosen["sasl_plain_username"] = self.login.username
            chosen["sasl_plain_password"] = self.login.password
        return chosen
