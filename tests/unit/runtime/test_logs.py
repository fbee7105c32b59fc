"""A failure in the logs names the place and the reason, and none of the values that were at hand."""

import json
import logging
from collections.abc import Iterator

import pytest
import structlog

from cdp_runtime import logs


@pytest.fixture
def fresh() -> Iterator[None]:
    """The settings of the logs as they were before."""
    root = logging.getLogger()
    handlers, level, kept = root.handlers[:], root.level, structlog.get_config()
    yield
    root.handlers[:], root.level = handlers, level
    structlog.configure(**kept)
    structlog.contextvars.clear_contextvars()


def fail(write_key: str) -> None:
    raise ValueError(f"{len(write_key)} letters are too few")


def tell() -> None:
    try:
        fail("sesame")
    except ValueError:
        logs.get_logger("test").exception("it_failed", batch=7)
        logging.getLogger("library").exception("it failed in a library")


@pytest.mark.parametrize("style", ["json", "console"])
def test_a_failure_is_told_without_the_values_of_its_variables(
    style: str, fresh: None, capsys: pytest.CaptureFixture[str]
) -> None:
    logs.configure("info", style, "tester")
    tell()
    told = capsys.readouterr().err
    assert told.count("6 letters are too few") == 2
    assert "in fail" in told or '"name": "fail"' in told
    assert "sesame" not in told.replace('fail("sesame")', "")


def test_json_is_one_line_each_with_its_fields(fresh: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", "tester")
    tell()
    own, library = (json.loads(line) for line in capsys.readouterr().err.splitlines())
    assert (own["event"], own["batch"], own["service"], own["level"]) == ("it_failed", 7, "tester", "error")
    assert own["exception"][0]["exc_type"] == library["exception"][0]["exc_type"] == "ValueError"


def test_what_is_less_severe_than_the_level_is_not_made_at_all(fresh: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", "tester")
    log = logs.get_logger("test")
    log.debug("passed_over", batch=7)
    log.info("told %s", "in words")
    told = [json.loads(line) for line in capsys.readouterr().err.splitlines()]
    assert [(line["event"], line["level"], line["logger"]) for line in told] == [("told in words", "info", "test")]


def test_addresses_of_live_streams_stay_out_of_the_logs(fresh: None, capsys: pytest.CaptureFixture[str]) -> None:
    logs.configure("info", "json", "tester")
    logging.getLogger("uvicorn.error").info('%s - "WebSocket %s" [accepted]', "10.0.0.1", "/events/stream?token=sesame")
    logging.getLogger("uvicorn.error").error("it cannot go on")
    told = capsys.readouterr().err
    assert "sesame" not in told and "it cannot go on" in told
