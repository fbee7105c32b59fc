"""The real parts for all tests: each starts on first demand, once per session, and is gone afterwards."""

from __future__ import annotations

import asyncio
import os
import shutil
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import hypothesis
import pytest
import structlog

from cdp_devstack.background import BackgroundStack
from cdp_devstack.errors import PartUnavailable
from cdp_devstack.parts import Part, Ports
from cdp_eventlog.brokers import Brokers
from tests.millrace import millrace

__all__ = ["millrace"]  # fixtures that live beside what they are about

# an example that takes long tells how busy the machine is, and nothing else
hypothesis.settings.register_profile("no deadline", deadline=None)
hypothesis.settings.load_profile("no deadline")
# structlog's own way prints every variable of every frame, which takes seconds for each failure that a test provokes
structlog.configure(
    processors=[
        *structlog.get_config()["processors"][:-1],
        structlog.dev.ConsoleRenderer(colors=False, exception_formatter=structlog.dev.plain_traceback),
    ]
)


@pytest.fixture(scope="session", autouse=True)
async def nothing_goes_on() -> AsyncIterator[None]:
    """Whoever starts a task ends it: a session that leaves one running fails, and says which.

    It is ended nevertheless, told more than once: a worker of a psycopg pool takes one cancellation for the failure of
    what it was doing.
    """
    yield
    left = await _left(within=5)  # what was closed just now may still be at it
    found = sorted(map(repr, left))
    for _ in range(50):
        for task in left:
            task.cancel()
        left = await _left(within=0.2)
    if found:
        pytest.fail("these tasks were left running:\n" + "\n".join(found), pytrace=False)


async def _left(within: float) -> set[asyncio.Task[Any]]:
    """The tasks that are left, at the latest after so many seconds."""
    others = asyncio.all_tasks() - {asyncio.current_task()}
    return (await asyncio.wait(others, timeout=within))[1] if others else set()


@pytest.fixture(scope="session")
def local_parts() -> Iterator[BackgroundStack]:
    """Nothing runs yet; `url(part)` starts that part."""
    directory = Path(tempfile.mkdtemp(prefix="millrace-test-"))
    stack = BackgroundStack(directory / "data", Ports.free())
    yield stack
    stack.close()
    shutil.rmtree(directory, ignore_errors=True)


def start(parts: BackgroundStack, part: Part) -> str:
    """The part's URL; a part that this machine cannot run skips the test, or fails it when CI=true."""
    try:
        return parts.url(part)
    except PartUnavailable as missing:
        if os.environ.get("CI") == "true":
            pytest.fail(str(missing), pytrace=False)
        pytest.skip(str(missing))


@pytest.fixture(scope="session")
def kafka_url(local_parts: BackgroundStack) -> str:
    """Bootstrap servers of a real Apache Kafka."""
    return start(local_parts, Part.KAFKA)


@pytest.fixture(scope="session")
def brokers(kafka_url: str) -> Brokers:
    """The same, as clients take them."""
    return Brokers(kafka_url)


@pytest.fixture(scope="session")
def postgres_url(local_parts: BackgroundStack) -> str:
    """URL of the database `cdp`, owned by a superuser."""
    return start(local_parts, Part.POSTGRES)


@pytest.fixture(scope="session")
def clickhouse_url(local_parts: BackgroundStack) -> str:
    """dsn of the database `cdp` over HTTP."""
    return start(local_parts, Part.CLICKHOUSE)


@pytest.fixture(scope="session")
def redis_url(local_parts: BackgroundStack) -> str:
    """URL of a Redis."""
    return start(local_parts, Part.REDIS)


@pytest.fixture(scope="session")
def stack(local_parts: BackgroundStack) -> BackgroundStack:
    """All parts running: `.environment`, `.kill(part)`, `.restart(part)`, from sync and async tests alike."""
    for part in Part:
        start(local_parts, part)
    return local_parts
