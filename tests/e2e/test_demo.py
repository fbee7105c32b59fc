"""What the README has its reader do: the demo, the two requests below it, and the demo once more on what is there."""

import re
import shlex
import subprocess
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import httpx
import pytest
from tests.millrace import Millrace
from tests.processes import CDP

README = Path(__file__).parents[2] / "README.md"
pytestmark = pytest.mark.stack


def shown(millrace: Millrace) -> str:
    """What ``cdp demo`` prints on the running stack."""
    done = subprocess.run(
        [CDP, "demo", "--once", "--count", "12"], env=millrace.environment, capture_output=True, text=True, timeout=180
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def asked_as_in_the_readme(millrace: Millrace) -> list[httpx.Response]:
    """The answers to its curl commands, sent to this stack's ports."""
    text = README.read_text().replace("\\\n", " ")
    for port, name in {"8000": "INGEST", "8001": "API"}.items():
        text = text.replace(f"127.0.0.1:{port}/", f"127.0.0.1:{millrace.ports[name]}/")
    return [_asked(shlex.split(line)[1:]) for line in text.splitlines() if line.startswith("curl ")]


def _asked(arguments: Sequence[str]) -> httpx.Response:
    options: dict[str, Any] = {"method": "GET", "headers": {}}
    words = iter(arguments)
    for word in words:
        if word == "-u":
            options["auth"] = tuple(next(words).split(":"))
        elif word == "-H":
            name, _, value = next(words).partition(": ")
            options["headers"][name] = value
        elif word == "-d":
            options |= {"method": "POST", "content": next(words)}
        else:
            options["url"] = word
    return httpx.request(**options)


def test_the_demo_starts_again_on_what_its_reader_has_done(millrace: Millrace) -> None:
    first = shown(millrace)
    assert "238.5 USD in 2 orders" in first
    assert re.search(r"Segment High value: [1-9]\d* members", first)
    assert re.search(r"High value shoppers: [1-9]\d* members delivered", first)
    order, profile = asked_as_in_the_readme(millrace)
    assert order.is_success, order.text
    assert profile.json()["data"]["externalIds"]["userId"] == "ada"
    millrace.profile("user_id:ada", lambda found: float(found["computed"]["ltv"]) == 368.59)
    assert "368.59 USD in 3 orders" in shown(millrace)
