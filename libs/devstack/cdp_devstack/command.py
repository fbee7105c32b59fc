"""The command `cdp up`: arguments in, an exit code out, an expected fault as one sentence."""

from __future__ import annotations

import asyncio
from enum import StrEnum
from pathlib import Path
from typing import Annotated

import typer
from rich.console import Console

from cdp_devstack.errors import StackError
from cdp_devstack.up import Options, Up


class Only(StrEnum):
    """What may be started alone."""

    INFRA = "infra"


def up(
    data_dir: Annotated[Path, typer.Option(envvar="CDP_DATA_DIR", help="where all local data is kept")] = Path(".cdp"),
    fresh: Annotated[bool, typer.Option("--fresh", help="empty the data directory first")] = False,
    with_demo: Annotated[bool, typer.Option("--demo", help="stream the demo shop once everything runs")] = False,
    only: Annotated[
        Only | None, typer.Option(help="`infra`: Kafka, Postgres, ClickHouse and Redis without the services")
    ] = None,
    workers: Annotated[int | None, typer.Option(min=1, help="processes of the gateway")] = None,
) -> None:
    """Starts the whole stack on this machine: Kafka, Postgres, ClickHouse, Redis and every service, without Docker.

    Data is kept in .cdp/ and is still there at the next start. Ctrl-C stops everything. A part whose URL is given
    (CDP_KAFKA_BOOTSTRAP_SERVERS, CDP_POSTGRES_URL, CDP_CLICKHOUSE_URL, CDP_REDIS_URL) is used and not started.
    """
    options = Options(data_dir, fresh, with_demo, only is Only.INFRA, workers)
    try:
        asyncio.run(Up(options, Console()).run())
    except StackError as fault:
        Console(stderr=True, soft_wrap=True).print(str(fault), markup=False, highlight=False)
        raise typer.Exit(1) from None
