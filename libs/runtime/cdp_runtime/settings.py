"""Environment variables with the prefix CDP_ -> typed settings; a fault stops the start with the variable's name."""

from collections.abc import Callable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any, Final, Literal, TypeVar
from urllib.parse import urlsplit

from psycopg import ProgrammingError
from psycopg.conninfo import conninfo_to_dict
from pydantic import Field, ValidationError, ValidationInfo, field_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from cdp_eventlog.brokers import Brokers, Login
from cdp_runtime import kafka_tls

S = TypeVar("S", bound="ServiceSettings")
LOCAL_SECRET_KEY = "local-stack-only-secret-key-change-me-elsewhere"


def _is_url(*schemes: str) -> Callable[[str], bool]:
    def reads(address: str) -> bool:
        url = urlsplit(address)
        return url.scheme in schemes and bool(url.hostname or url.scheme == "unix") and url.port != 0

    return reads


def _is_list_of_hosts(address: str) -> bool:
    hosts = [urlsplit(f"//{host.strip()}") for host in address.split(",")]
    return all(host.hostname and host.port != 0 and not host.path for host in hosts)


_ADDRESSES: Final[Mapping[str, tuple[Callable[[str], object], str]]] = {
    "postgres_url": (conninfo_to_dict, "postgresql://user:password@host:5432/database"),
    "clickhouse_url": (_is_url("http", "https"), "https://user:password@host:8443/database, or http:// without TLS"),
    "redis_url": (_is_url("redis", "rediss", "unix"), "redis://:password@host:6379/0, or rediss:// with TLS"),
    "kafka_bootstrap_servers": (_is_list_of_hosts, "host:9092, several separated by commas"),
}


_LOGIN: Final[Mapping[str | None, str]] = {
    "kafka_sasl_mechanism": "PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512, as the brokers offer",
    "kafka_sasl_username": "the user name or API key",
    "kafka_sasl_password": "the password or API secret",
}


class BadSettings(Exception):
    """One sentence per fault, each naming its variable and what it should be."""


class ServiceSettings(BaseSettings):
    """What every process needs; each service adds its own fields in a subclass."""

    model_config = SettingsConfigDict(env_prefix="CDP_", extra="ignore", frozen=True, allow_inf_nan=False)

    environment: Literal["local", "production"] = Field("local", description="local allows the demo credentials")
    kafka_bootstrap_servers: str = Field("127.0.0.1:9092", description="Kafka brokers, host:port separated by commas")
    kafka_security_protocol: Literal["PLAINTEXT", "SSL", "SASL_PLAINTEXT", "SASL_SSL"] = Field(
        "PLAINTEXT", description="how to speak to Kafka: PLAINTEXT, SSL, SASL_PLAINTEXT or SASL_SSL; SSL is TLS"
    )
    kafka_sasl_mechanism: Literal["", "PLAIN", "SCRAM-SHA-256", "SCRAM-SHA-512"] = Field(
        "", description="how to log in to Kafka with SASL: PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"
    )
    kafka_sasl_username: str = Field("", description="user name (API key) to log in to Kafka with")
    kafka_sasl_password: str = Field("", repr=False, description="password (API secret) to log in to Kafka with")
    kafka_ssl_ca_file: str = Field("", description="PEM file of who signs Kafka's certificates; empty: the system's")
    kafka_ssl_cert_file: str = Field("", description="PEM file of the client's certificate, for mutual TLS with Kafka")
    kafka_ssl_key_file: str = Field("", description="PEM file of its key, without a passphrase")
    postgres_url: str = Field("postgresql://cdp:cdp@127.0.0.1:5433/cdp", description="Postgres database")
    clickhouse_url: str = Field("http://default:@127.0.0.1:8123/cdp", description="ClickHouse HTTP interface")
    redis_url: str = Field("redis://127.0.0.1:6380/0", description="Redis: limits that processes share, nothing else")
    data_dir: Path = Field(Path(".cdp"), description="where the local stack keeps its data and logs")
    admin_host: str = Field("127.0.0.1", description="address of /metrics, /healthz and /readyz")
    admin_port: int = Field(0, ge=0, le=65535, description="port of /metrics, /healthz and /readyz; 0 picks one")
    log_level: Literal["debug", "info", "warning", "error"] = Field("info", description="least severe log line shown")
    log_format: Literal["json", "console"] = Field("json", description="json for collectors, console for people")
    secret_key: str = Field(
        LOCAL_SECRET_KEY,
        min_length=32,
        description="seals credentials and keys the suppression list, 32+ chars; never to be changed",
    )
    fault: str = Field("", description="for fault tests only: point:n:action, see cdp_runtime.faultpoints")
    default_currency: str = Field("USD", pattern="^[A-Z]{3}$", description="currency of amounts that name none")
    default_phone_region: str = Field("US", pattern="^[A-Z]{2}$", description="region of phone numbers without +")

    @cached_property
    def brokers(self) -> Brokers:
        """What Kafka's clients are made with."""
        protocol, tls, login = self.kafka_security_protocol, None, None
        if protocol.endswith("SSL"):
            tls = kafka_tls.trusting(self.kafka_ssl_ca_file)
            if self.kafka_ssl_cert_file:
                kafka_tls.show_certificate(tls, self.kafka_ssl_cert_file, self.kafka_ssl_key_file)
        if protocol.startswith("SASL"):
            login = Login(self.kafka_sasl_mechanism, self.kafka_sasl_username, self.kafka_sasl_password)
        return Brokers(self.kafka_bootstrap_servers, tls, login)

    @field_validator("postgres_url", "clickhouse_url", "redis_url", "kafka_bootstrap_servers")
    @classmethod
    def _can_be_read(cls, address: str, info: ValidationInfo) -> str:
        """Now and in our words: clients take what is missing for this machine, or tell the whole address."""
        reads, example = _ADDRESSES[info.field_name or ""]
        try:
            is_read = bool(address) and reads(address)
        except (ValueError, ProgrammingError):
            is_read = False
        if not is_read:
            raise ValueError(f"cannot be read; write {example}")
        return address

    @field_validator("kafka_sasl_mechanism", "kafka_sasl_username", "kafka_sasl_password")
    @classmethod
    def _is_there_to_log_in(cls, given: str, info: ValidationInfo) -> str:
        protocol = info.data.get("kafka_security_protocol", "")
        if given and protocol in ("PLAINTEXT", "SSL"):
            raise ValueError(
                f"is not used with CDP_KAFKA_SECURITY_PROTOCOL={protocol}; unset it, or make that SASL_SSL"
            )
        if not given and protocol.startswith("SASL"):
            raise ValueError(f"is needed with CDP_KAFKA_SECURITY_PROTOCOL={protocol}; write {_LOGIN[info.field_name]}")
        return given

    @field_validator("kafka_ssl_ca_file", "kafka_ssl_cert_file", "kafka_ssl_key_file")
    @classmethod
    def _is_there_for_tls(cls, file: str, info: ValidationInfo) -> str:
        protocol = info.data.get("kafka_security_protocol", "")
        if file and protocol.endswith("PLAINTEXT"):
            raise ValueError(f"is not used with CDP_KAFKA_SECURITY_PROTOCOL={protocol}; unset it, or make that SSL")
        if file and info.field_name != "kafka_ssl_key_file":
            kafka_tls.trusting(file)
        return file

    @field_validator("kafka_ssl_key_file")
    @classmethod
    def _is_the_key_of_the_certificate(cls, key_file: str, info: ValidationInfo) -> str:
        cert_file = info.data.get("kafka_ssl_cert_file")
        if bool(cert_file) != bool(key_file) and cert_file is not None:
            raise ValueError("goes with CDP_KAFKA_SSL_CERT_FILE: set both, which may be one file, or none")
        if cert_file:
            kafka_tls.show_certificate(kafka_tls.trusting(""), cert_file, key_file)
        return key_file


def load(settings_class: type[S]) -> S:
    """Reads the environment. Raises BadSettings."""
    try:
        settings = settings_class()
    except ValidationError as error:
        raise BadSettings("\n".join(map(_sentence, error.errors()))) from error
    if settings.environment == "production" and settings.secret_key == LOCAL_SECRET_KEY:
        raise BadSettings("CDP_SECRET_KEY is still the local stack's: set a secret of 32 or more characters.")
    if settings.environment == "production" and settings.fault:
        raise BadSettings("CDP_FAULT is for fault tests and refused when CDP_ENVIRONMENT=production: unset it.")
    return settings


def holds_secret(variable: str) -> bool:
    """Whether the value is shown to nobody: URLs have passwords in them."""
    return "SECRET" in variable or "PASSWORD" in variable or variable.endswith("_URL")


def _sentence(fault: Any) -> str:
    name = f"CDP_{'_'.join(map(str, fault['loc'])).upper()}"
    said = fault["msg"].removeprefix("Value error, ")
    given = "" if fault["type"] == "missing" or holds_secret(name) else f", but it is {fault['input']!r}"
    return f"{name}: {said[:1].lower()}{said[1:]}{given}."
