"""A real Kafka with doors that encrypt and ask who comes -> what clients have to be told to get in, or not."""

import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Final

import pytest

from cdp_devstack.background import BackgroundStack
from cdp_devstack.kafka import Kafka, Listener
from cdp_devstack.parts import URL_VARIABLES, Part, Ports, free_ports
from cdp_eventlog.brokers import Login
from tests.certificates import Authority

USER, PASSWORD = "millrace", "canary-of-kafka"
_MODULES: Final = "org.apache.kafka.common.security"
_SASL: Final = {
    "sasl.enabled.mechanisms": "PLAIN,SCRAM-SHA-512",
    "plain.sasl.jaas.config": f'{_MODULES}.plain.PlainLoginModule required user_{USER}="{PASSWORD}";',
    "scram-sha-512.sasl.jaas.config": f"{_MODULES}.scram.ScramLoginModule required;",
}


@dataclass(frozen=True)
class Doors:
    """The addresses of one broker, each with its own protocol; all but ``elsewhere`` show a certificate for it."""

    sasl_ssl: str
    sasl_plaintext: str
    mutual: str
    elsewhere: str
    plaintext: str


class SecuredKafka:
    """The broker, the authority that signed its certificates, and one that it does not know."""

    def __init__(self, directory: Path) -> None:
        self._authority, self._stranger = Authority(directory / "authority"), Authority(directory / "stranger")
        here, elsewhere = self._keystore("here", "127.0.0.1"), self._keystore("elsewhere", "kafka.elsewhere")
        listeners = [
            Listener("SASL_SSL", free_ports(1)[0], "SASL_SSL", {**here, **_SASL}),
            Listener("SASL_PLAINTEXT", free_ports(1)[0], "SASL_PLAINTEXT", _SASL),
            Listener("MUTUAL", free_ports(1)[0], "SSL", {**here, "ssl.client.auth": "required"}),
            Listener("ELSEWHERE", free_ports(1)[0], "SSL", elsewhere),
        ]
        recipe = partial(Kafka, listeners=listeners, scram=[f"SCRAM-SHA-512=[name={USER},password={PASSWORD}]"])
        with pytest.MonkeyPatch.context() as patch:
            patch.delenv(URL_VARIABLES[Part.KAFKA], raising=False)  # one that is given has other doors
            self.stack = BackgroundStack(directory / "data", Ports.free(), {Part.KAFKA: recipe})
        self._listeners = listeners

    def start(self) -> Doors:
        """Raises PartUnavailable."""
        plaintext = self.stack.url(Part.KAFKA)
        return Doors(*(f"127.0.0.1:{one.port}" for one in self._listeners), plaintext)

    @property
    def ca_file(self) -> Path:
        return self._authority.ca_file

    def tls(self, *, trusted: bool = True) -> ssl.SSLContext:
        """A client's that trusts the broker's authority, or only the other one."""
        return ssl.create_default_context(cafile=(self._authority if trusted else self._stranger).ca_file)

    def client(self, *, known: bool = True) -> ssl.SSLContext:
        """A client's with a certificate of its own."""
        tls = self.tls()
        tls.load_cert_chain(*(self._authority if known else self._stranger).issue("client"))
        return tls

    def _keystore(self, name: str, host: str) -> Mapping[str, str]:
        certificate, key = self._authority.issue(name, host)
        both = certificate.with_suffix(".pem")
        both.write_text(key.read_text() + certificate.read_text())
        return {
            "ssl.keystore.type": "PEM",
            "ssl.keystore.location": str(both),
            "ssl.truststore.type": "PEM",
            "ssl.truststore.location": str(self.ca_file),
        }


def login(mechanism: str, password: str = PASSWORD) -> Login:
    return Login(mechanism, USER, password)
