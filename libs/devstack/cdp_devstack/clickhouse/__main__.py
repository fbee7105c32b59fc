"""`python -m cdp_devstack.clickhouse --port N --path DIR`: a data directory in, ClickHouse's HTTP interface out."""

from __future__ import annotations

import argparse
from pathlib import Path

import uvicorn

from cdp_devstack.clickhouse.app import ClickHouseApp
from cdp_devstack.clickhouse.engine import Engine

KEEP_ALIVE_SECONDS = 600
STOP_SECONDS = 5


def main() -> None:
    """Open the data directory and serve it until SIGTERM."""
    parser = argparse.ArgumentParser(prog="python -m cdp_devstack.clickhouse", description=__doc__)
    parser.add_argument("--port", type=int, default=8123)
    parser.add_argument("--path", type=Path, required=True, help="the data directory")
    parser.add_argument("--user", default="default")
    parser.add_argument("--password", default="")
    options = parser.parse_args()
    options.path.mkdir(parents=True, exist_ok=True)
    app = ClickHouseApp(Engine(options.path), options.user, options.password)
    uvicorn.run(
        app,
        host="127.0.0.1",
        port=options.port,
        http="httptools",
        ws="none",
        log_level="warning",
        access_log=False,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=STOP_SECONDS,
    )


if __name__ == "__main__":
    main()
