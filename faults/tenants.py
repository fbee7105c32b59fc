"""The workspaces of a stack and the secrets that open them -> rows in Postgres, and a look for them in the logs."""

import asyncio
import re
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

import psycopg

from cdp_analytics_api.adapters.postgres.tokens import NewToken, create_token
from cdp_analytics_api.adapters.postgres.workspaces import create_workspace
from cdp_ingest.adapters.postgres_sources import NewSource, create_source
from cdp_runtime.auth import SCOPES

# secrets that nobody else has: whoever finds one of these texts somewhere has found a leak
SECRET_KEY = "canary-secret-of-the-master-key-0123456789"
_PEOPLE = re.compile(rb"[\w-]+\.[\w-]+\.canary")  # how the load marks everything of one workspace


@dataclass(frozen=True)
class Tenant:
    """One workspace, and what opens it."""

    workspace: str
    write_key: str
    token: str


DEMO = Tenant("demo", "demo-write-key", "demo-api-token")
NEIGHBOUR = Tenant("neighbour", "canary-secret-of-a-write-key", "canary-secret-of-a-token")
TENANTS = (DEMO, NEIGHBOUR)


def open_workspace(postgres_url: str, tenant: Tenant) -> None:
    """With one source and one token that may do everything."""
    asyncio.run(_opened(postgres_url, tenant))


async def _opened(postgres_url: str, tenant: Tenant) -> None:
    async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
        await create_workspace(connection, tenant.workspace, tenant.workspace)
        await create_token(connection, NewToken(tenant.workspace, "all", tenant.token, sorted(SCOPES)))
        await create_source(connection, NewSource(tenant.workspace, f"web-{tenant.workspace}", "web", tenant.write_key))


def told(logs: Iterable[Path], secrets: Iterable[str]) -> Iterator[str]:
    """A sentence for each log that holds a secret, or a text by which the load marks a person."""
    wanted = {SECRET_KEY, NEIGHBOUR.write_key, NEIGHBOUR.token, *secrets}
    for path in sorted(logs):
        for number, line in enumerate(path.read_bytes().splitlines(), 1):
            found = sorted(secret for secret in wanted if secret.encode() in line)
            found += [match.decode() for match in _PEOPLE.findall(line)]
            if found:
                yield f"line {number} of {path.name} tells {', '.join(found[:3])}"
                break
