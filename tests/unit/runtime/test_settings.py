"""A fault in the configuration stops the start and names its variable."""

import pytest

from cdp_activation.settings import ActivationSettings
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
