"""`cdp sources`: sources made, changed and listed without SQL; a write key is printed once."""

import asyncio
import sys
from collections.abc import Sequence
from typing import Annotated, Final

import typer
from psycopg import AsyncConnection

from cdp_ingest.adapters.postgres_sources import (
    Connection,
    NewSource,
    SourceChange,
    create_source,
    sources,
    update_source,
)
from cdp_runtime.commands import CommandRefused, as_text, checked_id, new_key, require_workspace
from cdp_runtime.settings import ServiceSettings, load

app: Final = typer.Typer(no_args_is_help=True, help="Sources: what sends events, each with its write key.")
_SHORTEST_KEY: Final = 8
_Workspace = Annotated[str, typer.Option("--workspace", help="the workspace's id")]
_SourceId = Annotated[str, typer.Argument(help="the source's id within its workspace, for example web")]
_Need = Annotated[
    list[str] | None, typer.Option("--need", help="a consent category that events must grant; give it several times")
]


@app.command("create")
def create(
    source_id: _SourceId,
    workspace: _Workspace,
    *,
    name: Annotated[str, typer.Option(help="what people call it; its id when absent")] = "",
    need: _Need = None,
    write_key: Annotated[str, typer.Option(help="a key that senders have already; a new one when absent")] = "",
) -> None:
    """Creates a source and prints its write key, once: only its hash is kept."""
    if write_key and len(write_key) < _SHORTEST_KEY:
        raise CommandRefused(f"--write-key: a write key has {_SHORTEST_KEY} characters or more.")
    source_id = checked_id(source_id, "SOURCE_ID")
    new = NewSource(workspace, source_id, name or source_id, write_key or new_key(), _categories(need))
    asyncio.run(_create(new))
    _tell_key(new.workspace_id, new.source_id, new.write_key)


@app.command("list")
def show(workspace: Annotated[str, typer.Option(help="of this workspace alone")] = "") -> None:
    """Shows the sources, without their write keys."""

    async def read() -> Sequence[Sequence[object]]:
        async with await _connection() as connection:
            return await sources(connection, workspace or None)

    head = ("workspace", "source", "name", "state", "key", "needs", "events/s", "created")
    sys.stdout.write(as_text(head, asyncio.run(read())))


@app.command("update")
def update(
    source_id: _SourceId,
    workspace: _Workspace,
    *,
    name: Annotated[str | None, typer.Option(help="what people call it")] = None,
    enabled: Annotated[bool | None, typer.Option("--enable/--disable", help="whether it may send")] = None,
    need: _Need = None,
    need_nothing: Annotated[bool, typer.Option("--need-nothing", help="keep events whatever they grant")] = False,
    events_per_second: Annotated[float | None, typer.Option(min=0, help="its own limit; 0: the gateway's")] = None,
    draw_key: Annotated[bool, typer.Option("--new-key", help="a new write key; the old one ends")] = False,
) -> None:
    """Changes what is named, and nothing else. Gateways know within CDP_INGEST_SOURCE_CACHE_SECONDS."""
    if need and need_nothing:
        raise CommandRefused("--need and --need-nothing exclude each other.")
    categories = () if need_nothing else (_categories(need) or None)
    key = new_key() if draw_key else None
    change = SourceChange(name, enabled, categories, key, events_per_second)
    if change == SourceChange():
        raise CommandRefused("Nothing to change was named; see cdp sources update --help.")
    asyncio.run(_update(workspace, source_id, change))
    if key is None:
        sys.stderr.write(f"Source {source_id} of workspace {workspace} is changed.\n")
    else:
        _tell_key(workspace, source_id, key)


async def _create(new: NewSource) -> None:
    await require_workspace(load(ServiceSettings).postgres_url, new.workspace_id)
    async with await _connection() as connection:
        if not await create_source(connection, new):
            taken = f"Workspace {new.workspace_id!r} has a source {new.source_id!r} already"
            raise CommandRefused(f"{taken}, or another source has this write key.")


async def _update(workspace_id: str, source_id: str, change: SourceChange) -> None:
    async with await _connection() as connection:
        if not await update_source(connection, workspace_id, source_id, change):
            raise CommandRefused(f"Workspace {workspace_id!r} has no source {source_id!r}; see cdp sources list.")


def _categories(need: Sequence[str] | None) -> tuple[str, ...]:
    categories = tuple(dict.fromkeys(need or ()))
    for category in categories:
        if not 0 < len(category) <= 128:
            raise CommandRefused(f"--need: {category!r} is no category; a category has 1 to 128 characters.")
    return categories


def _tell_key(workspace_id: str, source_id: str, write_key: str) -> None:
    """The sentence for the reader, the key alone for a pipe."""
    sys.stderr.write(f"The write key of source {source_id} of workspace {workspace_id}, shown only now:\n")
    sys.stdout.write(f"{write_key}\n")


async def _connection() -> Connection:
    return await AsyncConnection.connect(load(ServiceSettings).postgres_url)
