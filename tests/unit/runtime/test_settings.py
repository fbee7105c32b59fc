"""A fault in the configuration stops the start and names its variable."""

from pathlib import Path

import pytest
from cryptography.hazmat.primitives.serialization import (
    BestAvailableEncryption,
    Encoding,
    PrivateFormat,
    load_pem_private_key,
)
from tests.certificates import Authority

from cdp_activation.settings import ActivationSettings
from cdp_eventlog.brokers import Brokers, Login
from cdp_runtime.configuration import all_settings, read_by_nobody, settings_table
from cdp_runtime.settings import BadSettings, ServiceSettings, load


def test_a_bad_value_names_its_variable(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_ADMIN_PORT", "70000")
    monkeypatch.setenv("CDP_ENVIRONMENT", "staging")
    with pytest.raises(BadSettings) as fault:
        load(ServiceSettings)
    assert "CDP_ADMIN_PORT" in str(fault.value) and "70000" in str(fault.value)
    assert "CDP_ENVIRONMENT" in str(fault.value) and "'local' or 'production'" in str(fault.value)


def test_production_refuses_the_local_secret(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_ENVIRONMENT", "production")
    with pytest.raises(BadSettings, match="CDP_SECRET_KEY"):
        load(ServiceSettings)


def test_a_secret_is_never_shown(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_SECRET_KEY", "short")
    with pytest.raises(BadSettings) as fault:
        load(ServiceSettings)
    assert "short'" not in str(fault.value)
    assert "canary" not in settings_table({"CDP_SECRET_KEY": "canary" * 8}, diff=True)


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("CDP_POSTGRES_URL", "postgresqlx://cdp:sesame@db/cdp"),
        ("CDP_POSTGRES_URL", "host=db password=sesame port"),
        ("CDP_POSTGRES_URL", "postgresql://[sesame"),
        ("CDP_CLICKHOUSE_URL", "cdp:sesame@clickhouse:8123/cdp"),  # which the driver takes for localhost
        ("CDP_CLICKHOUSE_URL", "http://cdp:sesame@clickhouse:port/cdp"),
        ("CDP_CLICKHOUSE_URL", "http:///sesame"),
        ("CDP_REDIS_URL", "sesame@redis:6379"),
        ("CDP_REDIS_URL", "http://:sesame@redis:6379"),
        ("CDP_KAFKA_BOOTSTRAP_SERVERS", "kafka:port"),
        ("CDP_KAFKA_BOOTSTRAP_SERVERS", "kafka:9092,:9092"),
        ("CDP_KAFKA_BOOTSTRAP_SERVERS", "kafka://kafka:9092"),
        *((name, "") for name in ("CDP_POSTGRES_URL", "CDP_CLICKHOUSE_URL", "CDP_REDIS_URL")),
        ("CDP_KAFKA_BOOTSTRAP_SERVERS", ""),
    ],
)
def test_an_address_that_cannot_be_read_is_refused_without_its_password(
    variable: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)
    with pytest.raises(BadSettings, match=rf"^{variable}: cannot be read; write \S+:.*") as fault:
        load(ServiceSettings)
    assert "sesame" not in str(fault.value)


@pytest.mark.parametrize(
    ("variable", "address"),
    [
        ("CDP_POSTGRES_URL", "host=db dbname=cdp"),
        ("CDP_CLICKHOUSE_URL", "https://clickhouse"),
        ("CDP_REDIS_URL", "unix:///run/redis.sock?db=1"),
        ("CDP_REDIS_URL", "rediss://[::1]:6379/0"),
        ("CDP_KAFKA_BOOTSTRAP_SERVERS", "kafka-0.kafka:9092, [::1]:9092"),
    ],
)
def test_an_address_that_clients_can_read_is_taken(
    variable: str, address: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv(variable, address)
    assert address in load(ServiceSettings).model_dump().values()


LOGIN = {"SASL_MECHANISM": "PLAIN", "SASL_USERNAME": "millrace", "SASL_PASSWORD": "sesame"}


@pytest.fixture
def pem(tmp_path: Path) -> dict[str, str]:
    """Files by what is in them."""
    authority = Authority(tmp_path / "authority")
    (cert, key), (_, other) = authority.issue("client"), authority.issue("other")
    locked = tmp_path / "locked.key"
    secret = load_pem_private_key(key.read_bytes(), None)
    locked.write_bytes(secret.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, BestAvailableEncryption(b"sesame")))
    files = {"ca": authority.ca_file, "cert": cert, "key": key, "other key": other, "locked key": locked}
    return {name: str(path) for name, path in files.items()}


def tell_kafka(monkeypatch: pytest.MonkeyPatch, pem: dict[str, str], values: dict[str, str]) -> None:
    for name, value in values.items():
        monkeypatch.setenv(f"CDP_KAFKA_{name}", pem.get(value, value))


@pytest.mark.parametrize(
    ("protocol", "values", "variable", "sentence"),
    [
        ("TLS", {}, "SECURITY_PROTOCOL", "'PLAINTEXT', 'SSL', 'SASL_PLAINTEXT' or 'SASL_SSL'"),
        ("SASL_SSL", LOGIN | {"SASL_MECHANISM": ""}, "SASL_MECHANISM", "write PLAIN, SCRAM-SHA-256 or SCRAM-SHA-512"),
        ("SASL_SSL", LOGIN | {"SASL_MECHANISM": "GSSAPI"}, "SASL_MECHANISM", "'SCRAM-SHA-512'"),
        ("SASL_SSL", LOGIN | {"SASL_USERNAME": ""}, "SASL_USERNAME", "write the user name"),
        ("SASL_PLAINTEXT", LOGIN | {"SASL_PASSWORD": ""}, "SASL_PASSWORD", "write the password"),
        ("PLAINTEXT", {"SASL_MECHANISM": "PLAIN"}, "SASL_MECHANISM", "unset it"),
        ("SSL", {"SASL_PASSWORD": "sesame"}, "SASL_PASSWORD", "unset it, or make that SASL_SSL"),
        ("PLAINTEXT", {"SSL_CA_FILE": "ca"}, "SSL_CA_FILE", "unset it, or make that SSL"),
        ("SASL_PLAINTEXT", LOGIN | {"SSL_CERT_FILE": "cert", "SSL_KEY_FILE": "key"}, "SSL_CERT_FILE", "unset it"),
        ("SSL", {"SSL_CA_FILE": "/nowhere"}, "SSL_CA_FILE", "No such file"),
        ("SSL", {"SSL_CA_FILE": "key"}, "SSL_CA_FILE", "cannot be read as certificates in PEM"),
        ("SSL", {"SSL_CERT_FILE": "key", "SSL_KEY_FILE": "key"}, "SSL_CERT_FILE", "as certificates in PEM"),
        ("SSL", {"SSL_CERT_FILE": "cert"}, "SSL_KEY_FILE", "goes with CDP_KAFKA_SSL_CERT_FILE"),
        ("SSL", {"SSL_KEY_FILE": "key"}, "SSL_KEY_FILE", "goes with CDP_KAFKA_SSL_CERT_FILE"),
        ("SSL", {"SSL_CERT_FILE": "cert", "SSL_KEY_FILE": "/nowhere"}, "SSL_KEY_FILE", "No such file"),
        ("SSL", {"SSL_CERT_FILE": "cert", "SSL_KEY_FILE": "other key"}, "SSL_KEY_FILE", "MISMATCH"),
        ("SSL", {"SSL_CERT_FILE": "cert", "SSL_KEY_FILE": "locked key"}, "SSL_KEY_FILE", "without a passphrase"),
    ],
)
def test_what_is_wrong_about_kafka_is_named(
    protocol: str,
    values: dict[str, str],
    variable: str,
    sentence: str,
    pem: dict[str, str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    tell_kafka(monkeypatch, pem, {"SECURITY_PROTOCOL": protocol, **values})
    with pytest.raises(BadSettings, match=rf"^CDP_KAFKA_{variable}: ") as fault:
        load(ServiceSettings)
    assert sentence in str(fault.value) and "sesame" not in str(fault.value)


def test_brokers_are_what_the_settings_say(pem: dict[str, str], monkeypatch: pytest.MonkeyPatch) -> None:
    assert load(ServiceSettings).brokers == Brokers("127.0.0.1:9092")
    files = {"SSL_CA_FILE": "ca", "SSL_CERT_FILE": "cert", "SSL_KEY_FILE": "key"}
    tell_kafka(monkeypatch, pem, {"SECURITY_PROTOCOL": "SASL_SSL", **LOGIN, **files})
    settings = load(ServiceSettings)
    brokers = settings.brokers
    assert brokers.protocol == "SASL_SSL" and brokers.login == Login("PLAIN", "millrace", "sesame")
    assert brokers.tls is not None and brokers.tls.check_hostname and len(brokers.tls.get_ca_certs()) == 1
    assert settings.brokers is brokers, "the files are read once"
    assert "sesame" not in f"{brokers!r} {settings!r}"
    assert "sesame" not in settings_table({"CDP_KAFKA_SASL_PASSWORD": "sesame"})


@pytest.mark.parametrize("listed", ["", "443,https", "443,", "0", "65536", "-1"])
def test_a_port_that_is_none_is_named(listed: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_ACTIVATION_ALLOWED_PORTS", listed)
    with pytest.raises(BadSettings, match=r"^CDP_ACTIVATION_ALLOWED_PORTS: give port numbers"):
        load(ActivationSettings)


@pytest.mark.parametrize("never", ["inf", "nan", "1e999"])
def test_a_time_without_end_is_none(never: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_ACTIVATION_RETRY_BUDGET_HOURS", never)
    with pytest.raises(BadSettings, match=r"^CDP_ACTIVATION_RETRY_BUDGET_HOURS: .*finite number"):
        load(ActivationSettings)


def test_the_table_shows_what_differs() -> None:
    table = settings_table({"CDP_LOG_LEVEL": "debug"}, diff=True)
    assert "CDP_LOG_LEVEL" in table and "debug (default info)" in table and "CDP_DATA_DIR" not in table
    assert len({setting.variable for setting in all_settings()}) == len(all_settings())


def test_a_misspelled_variable_is_named() -> None:
    environment = {"CDP_API_TRUSTED_PROXY": "10.0.0.0/8", "CDP_API_PORT": "1", "CDP_KAFKA_PORT": "2", "PATH": "/bin"}
    assert read_by_nobody(environment) == ["CDP_API_TRUSTED_PROXY"]
