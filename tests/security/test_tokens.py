"""Every operation asks for a token of this workspace with the one scope that the document names."""

import asyncio
import random
from collections.abc import Iterator
from typing import Any

import httpx
import psycopg
import pytest
from fastapi.routing import iter_route_contexts

from cdp_analytics_api.adapters.postgres.tokens import NewToken, create_token
from cdp_analytics_api.door.operations import Operations
from cdp_analytics_api.service import build
from cdp_runtime.auth import SCOPES
from tests.millrace import Millrace
from tests.security.tenants import Tenant

# what anyone may see: that the door is open, and its documents
OPEN = {"/", "/docs", "/docs/oauth2-redirect", "/redoc", "/openapi.json", "/docs/assets", "/api/cdp/health"}


def test_every_route_asks_for_a_scope() -> None:
    app = build().app  # type: ignore[attr-defined]
    operations = Operations(app)
    asked: dict[str, str] = {}
    for context in iter_route_contexts(app.routes):
        scope = {"type": "http", "endpoint": context.endpoint, "path": context.path or "", "method": ""}
        asked[context.path or ""] = operations.of(scope).scope
    assert len(asked) > 30
    assert {path for path, scope in asked.items() if not scope} <= OPEN
    assert set(asked.values()) - {""} <= SCOPES


@pytest.fixture(scope="module")
def scoped(tenants: tuple[Tenant, Tenant]) -> dict[str, str]:
    """Tokens of Ada's: ``only:SCOPE``, and ``but:SCOPE`` with all the others."""
    ada, _ = tenants
    tokens = {f"only:{scope}": [scope] for scope in SCOPES} | {
        f"but:{scope}": sorted(SCOPES - {scope}) for scope in SCOPES
    }

    async def create() -> None:
        async with await psycopg.AsyncConnection.connect(ada.millrace.postgres_url) as connection:
            for name, scopes in tokens.items():
                await create_token(connection, NewToken(ada.workspace, name, f"{name}-{ada.mark}", scopes))

    asyncio.run(create())
    return {name: f"{name}-{ada.mark}" for name in tokens}


def operations(millrace: Millrace) -> Iterator[tuple[str, str, dict[str, Any]]]:
    """Method, path with a made-up id, and the entry of the document."""
    document = httpx.get(f"http://127.0.0.1:{millrace.ports['API']}/openapi.json").json()
    for path, item in document["paths"].items():
        for method, entry in item.items():
            if path not in OPEN:
                yield method.upper(), path.removeprefix("/api/cdp").replace("{", "").replace("}", ""), entry


def asked_as(tenant: Tenant, method: str, path: str, authorization: str) -> httpx.Response:
    # from another address each time: so many wrong tokens from one would be guessing
    client = f"198.18.{random.randrange(256)}.{random.randrange(256)}"
    headers = {"Authorization": authorization, "Accept": "application/json", "X-Forwarded-For": client}
    return tenant.ask(method, path, headers=headers)


@pytest.mark.stack
def test_a_token_that_is_none_of_ours_opens_nothing(millrace: Millrace, tenants: tuple[Tenant, Tenant]) -> None:
    ada, _ = tenants
    good = ada.token
    wrong = ["Bearer", f"Bearer {good[:-1]}", f"Bearer {good}x", f"Bearer {good.upper()}", f"Basic {good}"]
    wrong += [f"Bearer {ada.write_key}", f"Bearer {'x' * 5000}", f"Bearer {good},{good}", good]
    for method, path, _ in operations(millrace):
        for authorization in wrong if path == "/stats" else wrong[1:3]:
            answer = asked_as(ada, method, path, authorization)
            assert answer.status_code == 401, f"{method} {path} with {authorization!r}: {answer.text}"
            assert good not in answer.text
    assert asked_as(ada, "GET", "/stats", f"Bearer {good}").is_success


@pytest.mark.stack
def test_one_scope_opens_an_operation_and_all_others_do_not(
    millrace: Millrace, tenants: tuple[Tenant, Tenant], scoped: dict[str, str]
) -> None:
    ada, _ = tenants
    for method, path, entry in operations(millrace):
        scope = entry["x-required-scope"]
        shut = asked_as(ada, method, path, f"Bearer {scoped[f'but:{scope}']}")
        assert shut.status_code == 403 and scope in shut.json()["message"], f"{method} {path}: {shut.text}"
        opened = asked_as(ada, method, path, f"Bearer {scoped[f'only:{scope}']}")
        assert opened.status_code not in (401, 403), f"{method} {path}: {opened.text}"
