"""`cdp workspaces` and `cdp tokens`: what who runs the platform does without SQL; secrets are printed once."""

import asyncio
import sys
from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from typing import Annotated, Final
from uuid import UUID

import typer
from psycopg import AsyncConnection

from cdp_analytics_api.adapters.postgres.tokens import NewToken, create_token, revoke_token, tokens
from cdp_analytics_api.adapters.postgres.workspaces import create_workspace, workspaces
from cdp_runtime.auth import SCOPES
from cdp_runtime.commands import CommandRefused, as_text, checked_id, new_key, require_workspace
from cdp_runtime.settings import ServiceSettings, load

workspaces_app: Final = typer.Typer(no_args_is_help=True, help="Workspaces: the tenants of this platform.")
tokens_app: Final = typer.Typer(no_args_is_help=True, help="API tokens: each opens one workspace, within its scopes.")
_Workspace = Annotated[str, typer.Option("--workspace", help="the workspace's id")]


async def workspace_ids(postgres_url: str) -> list[str]:
    """Entry point group ``cdp.workspaces``: the ids of all workspaces."""
    async with await AsyncConnection.connect(postgres_url) as connection:
        return [row[0] for row in await workspaces(connection)]


@workspaces_app.command("create")
def workspaces_create(
    workspace_id: Annotated[str, typer.Argument(help="its id, for ever: lower-case letters, digits, - and _")],
    name: Annotated[str, typer.Option(help="what people call it; its id when absent")] = "",
) -> None:
    """Creates a workspace."""
    asyncio.run(_create_workspace(checked_id(workspace_id, "WORKSPACE_ID"), name or workspace_id))
    sys.stderr.write(f"Workspace {workspace_id}. Next: cdp sources create, cdp tokens create.\n")


@workspaces_app.command("list")
def workspaces_list() -> None:
    """Shows all workspaces."""

    async def read() -> Sequence[Sequence[object]]:
        async with await _connection() as connection:
            return await workspaces(connection)

    rows = [(ref, name, f"{since:%Y-%m-%d}", count) for ref, name, since, count in asyncio.run(read())]
    sys.stdout.write(as_text(("workspace", "name", "created", "tokens"), rows))


@tokens_app.command("create")
def tokens_create(
    workspace: _Workspace,
    name: Annotated[str, typer.Option(help="who or what will use it")],
    *,
    scope: Annotated[list[str] | None, typer.Option(help="what it may do; give it several times")] = None,
    all_scopes: Annotated[bool, typer.Option("--all-scopes", help="it may do everything")] = False,
    days: Annotated[int | None, typer.Option(min=1, max=36_500, help="how long it works; for ever when absent")] = None,
) -> None:
    """Creates an API token and prints it, once: only its hash is kept."""
    scopes = _scopes(scope or [], all_scopes)
    expires_at = None if days is None else datetime.now(UTC) + timedelta(days=days)
    token = NewToken(workspace, name, new_key(), scopes, expires_at)
    asyncio.run(_create_token(token))
    sys.stderr.write(f"A token of workspace {workspace} for {name}, shown only now:\n")
    sys.stdout.write(f"{token.token}\n")


@tokens_app.command("list")
def tokens_list(workspace: Annotated[str, typer.Option(help="of this workspace alone")] = "") -> None:
    """Shows the API tokens, without their secrets."""

    async def read() -> Sequence[Sequence[object]]:
        async with await _connection() as connection:
            return await tokens(connection, workspace or None)

    head = ("workspace", "token", "name", "state", "last used", "scopes")
    sys.stdout.write(as_text(head, asyncio.run(read())))


@tokens_app.command("revoke")
def tokens_revoke(
    workspace: _Workspace, token_id: Annotated[UUID, typer.Argument(help="from cdp tokens list")]
) -> None:
    """Ends an API token; it may work CDP_API_TOKEN_CACHE_SECONDS longer."""

    async def revoke() -> bool:
        async with await _connection() as connection:
            return await revoke_token(connection, workspace, token_id)

    if not asyncio.run(revoke()):
        raise CommandRefused(f"Workspace {workspace!r} has no token {token_id} that works.")
    sys.stderr.write("Revoked.\n")


async def _create_workspace(workspace_id: str, name: str) -> None:
    async with await _connection() as connection:
        if not await create_workspace(connection, workspace_id, name):
            raise CommandRefused(f"There is a workspace {workspace_id!r} already.")


async def _create_token(token: NewToken) -> None:
    await require_workspace(load(ServiceSettings).postgres_url, token.workspace_id)
    async with await _connection() as connection:
        await create_token(connection, token)


def _scopes(named: Sequence[str], everything: bool) -> tuple[str, ...]:
    if unknown := sorted(set(named) - SCOPES):
        raise CommandRefused(f"--scope: there is no {', '.join(unknown)}; there are {', '.join(sorted(SCOPES))}.")
    if not named and not everything:
        raise CommandRefused("A token needs --scope, once or more, or --all-scopes.")
    return tuple(sorted(SCOPES if everything else set(named)))


async def _connection() -> AsyncConnection[tuple[object, ...]]:
    return await AsyncConnection.connect(load(ServiceSettings).postgres_url)
