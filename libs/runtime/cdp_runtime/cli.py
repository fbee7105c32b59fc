"""The program ``cdp``: starts processes, migrates stores, shows settings; other packages add commands.

Commands import what they need when they run: every service process starts through here and must not pay for Alembic.
"""

import asyncio
import logging
import os
import sys
from importlib.metadata import entry_points
from typing import Annotated

import typer

from cdp_runtime.commands import CommandRefused
from cdp_runtime.run import UnknownService, run, service_names
from cdp_runtime.settings import BadSettings, ServiceSettings, load

app = typer.Typer(
    name="cdp",
    no_args_is_help=True,
    pretty_exceptions_enable=False,
    help="Millrace, a customer data platform on Kafka. Start with `cdp up`: it runs the whole stack on this machine.",
)
topics_app = typer.Typer(no_args_is_help=True, help="The topics of the log, from their cards.")
app.add_typer(topics_app, name="topics")


@app.command("run")
def run_command(
    name: Annotated[str, typer.Argument(help="one of the services; leave it out to list them")] = "",
) -> None:
    """Runs one service in this process, until SIGTERM or Ctrl-C."""
    if not name:
        typer.echo("\n".join(service_names()))
        return
    raise typer.Exit(run(name))


@app.command("run-local", hidden=True)
def run_local_command(name: str) -> None:
    """Runs a process of the local stack only, for example the stand-in for marketing platforms."""
    found = entry_points(group="cdp.local_processes", name=name)
    if not found:
        raise UnknownService(f"There is no local process {name!r}.")
    raise typer.Exit(next(iter(found)).load()() or 0)


@app.command()
def migrate(
    sql: Annotated[bool, typer.Option("--sql", help="print what would run in Postgres, and run nothing")] = False,
) -> None:
    """Brings the Postgres schemas and the ClickHouse tables up to date."""
    from cdp_runtime import migrate as migrations

    settings = load(ServiceSettings)
    if sql:
        migrations.postgres_sql(settings.postgres_url)
        return
    heads, files = asyncio.run(migrations.migrate(settings.postgres_url, settings.clickhouse_url))
    typer.echo(f"Postgres is at {', '.join(heads)}; ClickHouse: {', '.join(files) or 'nothing new'}.")


@app.command()
def seed() -> None:
    """Creates the workspace `demo` with its write key, token and destinations; local stacks only."""
    settings = load(ServiceSettings)
    if settings.environment != "local":
        raise BadSettings("CDP_ENVIRONMENT is not local: the demo credentials are for local stacks only.")
    for entry in sorted(entry_points(group="cdp.seeds"), key=lambda entry: entry.name):
        asyncio.run(entry.load()(settings.postgres_url))


@app.command()
def config(
    diff: Annotated[bool, typer.Option("--diff", help="only what differs from the defaults")] = False,
    markdown: Annotated[bool, typer.Option("--markdown", help="as the table in docs/settings.md")] = False,
) -> None:
    """Shows every setting: its environment variable, value, default and meaning."""
    from cdp_runtime.configuration import read_by_nobody, settings_table

    sys.stdout.write(settings_table(os.environ, diff=diff, markdown=markdown))
    for name in read_by_nobody(os.environ):
        typer.echo(f"{name} is set, and nobody reads it.", err=True)


@app.command()
def metrics() -> None:
    """Shows every metric of every process, as the table in docs/metrics.md."""
    from cdp_runtime.metrics_page import metrics_table

    sys.stdout.write(metrics_table())


@topics_app.command("create")
def topics_create(
    replication: Annotated[int, typer.Option(help="replicas of each partition; 3 in production")] = 1,
) -> None:
    """Creates the topics that are missing."""
    from cdp_eventlog.topics import TopicMismatch, create_topics

    # every failed try to connect is a line of its own there; the last one is told in full
    logging.getLogger("aiokafka").setLevel(logging.CRITICAL)
    brokers = load(ServiceSettings).brokers
    try:
        created = asyncio.run(create_topics(brokers, replication=replication))
    except TopicMismatch as fault:
        raise BadSettings(str(fault)) from fault
    typer.echo(f"Created {', '.join(created)}." if created else "All topics are there.")


def main() -> None:
    """Entry point: an expected fault is one sentence on standard error and exit code 1."""
    own = {"run", "run-local", "migrate", "seed", "config", "metrics", "topics"}
    contributed = entry_points(group="cdp.commands")
    asked = next(iter(sys.argv[1:]), "")
    for entry in contributed:
        if asked != entry.name and (asked in own or asked in contributed.names):
            continue  # `cdp run` must not pay for importing the local stack, nor one command for another
        command = entry.load()
        if isinstance(command, typer.Typer):
            app.add_typer(command, name=entry.name)
        else:
            app.command(entry.name)(command)
    try:
        app()
    except (BadSettings, UnknownService, CommandRefused) as fault:
        _give_up(str(fault))
    except Exception as error:
        dependency = _DEPENDENCIES.get(type(error).__module__.partition(".")[0])
        if dependency is None:
            raise
        _give_up(f"{dependency}: {str(error).strip().splitlines()[0]}")


# whose exception it is tells what is wrong, without importing every client at every start
_DEPENDENCIES = {
    "psycopg": "Postgres refused or did not answer (CDP_POSTGRES_URL)",
    "sqlalchemy": "Postgres refused or did not answer (CDP_POSTGRES_URL)",
    "aiokafka": "Kafka refused or did not answer (CDP_KAFKA_BOOTSTRAP_SERVERS)",
    "cdp_clickhouse": "ClickHouse refused or did not answer (CDP_CLICKHOUSE_URL)",
}


def _give_up(sentence: str) -> None:
    typer.echo(sentence, err=True)
    raise SystemExit(1) from None


if __name__ == "__main__":
    main()
