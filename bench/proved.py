"""A stack at rest -> whether ``cdp verify`` finds one of its workspaces right: what is wrong is quick to compute."""

import os
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass

from tests.processes import CDP, environment

from bench.stages import SERVICES
from bench.whole import TENANTS, Whole

# it judges every membership by itself: of all workspaces of an hour's load there are tens of millions
PROVED = TENANTS[3]  # has 2 % of the events


@dataclass(frozen=True, slots=True)
class Proof:
    """How ``cdp verify`` ended, and what it said. Conservation, counters against a recount, golden records in both
    stores, memberships against their rules, lag and readiness."""

    code: int
    said: str


def proof(whole: Whole, chunks: int = 1) -> Proof:
    stack = whole.stack
    settings = environment(
        CDP_KAFKA_BOOTSTRAP_SERVERS=whole.bootstrap,
        CDP_POSTGRES_URL=stack.postgres_url,
        CDP_CLICKHOUSE_URL=stack.clickhouse_url,
        CDP_REDIS_URL=f"redis://127.0.0.1:{stack.ports['REDIS']}/0",
    )
    ports = [part for base in admin_urls(whole) for part in ("--admin", base)]
    done = subprocess.run(
        [CDP, "verify", "--workspace", PROVED.workspace, "--chunks", str(chunks), *ports],
        env={**os.environ, **settings},
        capture_output=True,
        text=True,
        check=False,
    )
    return Proof(done.returncode, done.stdout + done.stderr)


def admin_urls(whole: Whole) -> Sequence[str]:
    return [f"http://127.0.0.1:{whole.stack.find(name).environ()['CDP_ADMIN_PORT']}" for name in SERVICES]


def require_right(whole: Whole) -> None:
    """Raises AssertionError when what was measured is wrong, or nobody could look: then no figure is one."""
    found = proof(whole)
    assert found.code == 0, f"cdp verify of {PROVED.workspace} ended with {found.code}:\n{found.said}"
