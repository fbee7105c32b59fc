"""A fault in the configuration stops the start and names its variable."""

import pytest

from cdp_runtime.configuration import all_settings, settings_table
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
    "url", ["postgresqlx://cdp:sesame@db/cdp", "host=db password=sesame port", "postgresql://[sesame"]
)
def test_a_url_that_cannot_be_read_is_refused_without_its_password(url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("CDP_POSTGRES_URL", url)
    with pytest.raises(BadSettings, match=r"^CDP_POSTGRES_URL: cannot be read") as fault:
        load(ServiceSettings)
    assert "sesame" not in str(fault.value)


def test_the_table_shows_what_differs() -> None:
    table = settings_table({"CDP_LOG_LEVEL": "debug"}, diff=True)
    assert "CDP_LOG_LEVEL" in table and "debug (default info)" in table and "CDP_DATA_DIR" not in table
    assert len({setting.variable for setting in all_settings()}) == len(all_settings())
