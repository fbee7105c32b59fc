"""`cdp verify`: the proof, from the command line, on one's own data; `cdp verify load` makes data and its journal."""

import asyncio
import time
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.console import Console

from cdp_clickhouse.client import ClickHouse
from cdp_runtime.commands import CommandRefused
from cdp_runtime.settings import ServiceSettings, load
from cdp_schemas.topics import EVENTS_RECEIVED
from cdp_verify.findings import Finding
from cdp_verify.journal import BadJournal, Journal, JournalWriter, Run
from cdp_verify.load import Client, Sum
from cdp_verify.proof import Question, prove
from cdp_verify.report import show
from cdp_verify.shop import SHARES, Mix, Shops
from cdp_verify.stores import LogReads, PostgresReads, Scope, Stores

app: Final = typer.Typer(
    invoke_without_command=True,
    help="""Proves that nothing is lost, doubled or miscounted: compares the stores with one another and, with
    --journal, with what a client was promised. Reads only. Let the platform come to rest first: what is in
    flight looks lost. The exit code is 1 when anything is wrong, and 3 when something that was asked for could
    not be looked at. An invariant whose data is not there is "not checked", never passed.""",
)
console: Final = Console()
_DEMO_KEY: Final = "demo=demo-write-key"


@app.callback()
def verify(
    context: typer.Context,
    *,
    workspace: Annotated[str, typer.Option(help="only this workspace's rows")] = "",
    journal: Annotated[
        Path | None, typer.Option(help="the journal of `cdp verify load`: adds I1-I3, I5 and I11")
    ] = None,
    admin: Annotated[
        list[str] | None, typer.Option(help="an admin port, as http://host:port; several times: adds I13, I14, I16")
    ] = None,
    standin: Annotated[str, typer.Option(help="the stand-in for platforms, as http://host:port: widens I9")] = "",
    erased: Annotated[list[str] | None, typer.Option(help="a text that was erased; several times: adds I12")] = None,
    memory_mb: Annotated[int, typer.Option(min=1, help="most memory a process may hold (I13)")] = 1024,
    chunks: Annotated[int, typer.Option(min=1, help="cut large groupings: less memory in ClickHouse, more time")] = 1,
) -> None:
    """Checks the invariants I1 to I16 on the stores that CDP_* names."""
    if context.invoked_subcommand is not None:
        return
    settings = load(ServiceSettings)
    question = Question(
        None if journal is None else _read(journal), erased or (), settings.default_currency, memory_mb << 20
    )
    findings, arrived = asyncio.run(
        _prove(settings, question, (admin or [], standin), Scope(workspace or None, chunks))
    )
    code = show(findings, console)
    if arrived:
        console.print(
            f"[yellow]{arrived:,} events arrived meanwhile: what is in flight looks lost. Prove at rest.[/yellow]"
        )
    raise typer.Exit(code)


@app.command("load")
def load_command(
    journal: Annotated[Path, typer.Option(help="the file to write; `cdp verify --journal` reads it")],
    *,
    seconds: Annotated[float, typer.Option(min=1, help="for how long")] = 30.0,
    rate: Annotated[float, typer.Option(min=1, help="events per second, kept whatever the gateway does")] = 200.0,
    gateway: Annotated[str, typer.Option(help="the gateway's address")] = "http://127.0.0.1:8000",
    write_key: Annotated[
        list[str] | None, typer.Option(help=f"WORKSPACE=KEY, several times for several workspaces; {_DEMO_KEY} if none")
    ] = None,
    seed: Annotated[int, typer.Option(help="the same seed makes the same events")] = 1,
    prefix: Annotated[str, typer.Option(help="how this run's message ids begin; from the seed and time if none")] = "",
    people: Annotated[int, typer.Option(min=1, help="people per workspace, visiting by a Zipf law")] = 1000,
) -> None:
    """Sends a seeded shop's events like an SDK: retries, repeats, some late, some malformed; all of it in the journal.

    Only for installations that may have such data: the events stay there, with message ids that begin with the prefix.
    """
    keys = _keys(write_key or [_DEMO_KEY])
    run = Run(prefix or f"v{seed}x{int(time.time()):x}", seed, list(keys))
    try:
        with JournalWriter(journal, run) as writer:
            client = Client(gateway, keys, Shops(run.prefix, seed, run.workspaces, Mix(people)), writer)
            until = time.monotonic() + seconds
            said = asyncio.run(client.run(rate, lambda: time.monotonic() >= until))
    except OSError as error:
        raise CommandRefused(f"--journal: {journal} cannot be written: {error.strerror}") from error
    _tell(said, writer.dataset, journal)


def _tell(said: Sum, dataset: str, journal: Path) -> None:
    console.print(
        f"{said.events:,} events: {said.accepted:,} accepted, {said.refused:,} refused; {said.failures:,} calls "
        f"failed, at most {said.late_s:.2f} s behind schedule. Data set {dataset[:16]}."
    )
    console.print(f"Wait until the platform is at rest, then: cdp verify --journal {journal}", soft_wrap=True)


async def _prove(
    settings: ServiceSettings, question: Question, others: tuple[list[str], str], scope: Scope
) -> tuple[list[Finding], int]:
    """The findings, and how many events arrived while they were made."""
    columns, log = ClickHouse(settings.clickhouse_url), LogReads(settings.brokers)
    admin, standin = others
    stores = Stores(
        columns,
        PostgresReads(settings.postgres_url),
        log,
        settings.redis_url,
        admin,
        standin or None,
        scope,
        settings.secret_key,
    )
    try:
        before = await _received(log)
        findings = await prove(stores, question)
        return findings, await _received(log) - before
    finally:
        await columns.stop()


async def _received(log: LogReads) -> int:
    return sum((await log.ends(EVENTS_RECEIVED)).values())


def _read(path: Path) -> Journal:
    try:
        return Journal(path)
    except BadJournal as error:
        raise CommandRefused(f"--journal: {error}") from error
    except OSError as error:
        raise CommandRefused(f"--journal: {path} cannot be read: {error.strerror}") from error


def _keys(given: list[str]) -> dict[str, str]:
    keys = {}
    for pair in given:
        workspace, found, key = pair.partition("=")
        if not (workspace and found and key):
            raise CommandRefused(f"--write-key: give WORKSPACE=KEY, not {pair!r}.")
        keys[workspace] = key
    if len(keys) > len(SHARES):
        raise CommandRefused(f"--write-key: at most {len(SHARES)} workspaces, not {len(keys)}.")
    return keys
