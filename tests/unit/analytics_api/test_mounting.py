"""Routers within routers become routes side by side: with their prefixes, dependencies, methods and documents."""

from typing import Annotated

import pytest
from fastapi import APIRouter, Depends, FastAPI, WebSocket
from fastapi.routing import APIRoute, APIWebSocketRoute, iter_route_contexts
from httpx import ASGITransport, AsyncClient

from cdp_analytics_api.mounting import mount

entered: list[str] = []


async def entrance() -> None:
    entered.append("part")


async def inner() -> str:
    entered.append("route")
    return "inner"


@pytest.fixture
def app() -> FastAPI:
    entered.clear()
    leaf = APIRouter(prefix="/things", tags=["things"], responses={404: {"description": "No such thing"}})

    @leaf.get("/{name}", summary="Get a thing")
    async def get(name: str, told: Annotated[str, Depends(inner)]) -> dict[str, str]:
        return {"name": name, "told": told}

    @leaf.post("/{name}", status_code=202)
    async def make(name: str) -> str:
        return name

    @leaf.websocket("/{name}/stream")
    async def stream(socket: WebSocket, name: str) -> None:
        await socket.close()

    part = APIRouter()
    part.include_router(leaf)
    app = FastAPI()
    mount(app, part, "/api", [Depends(entrance)])
    return app


def test_each_route_stands_beside_the_others(app: FastAPI) -> None:
    own = [route for route in app.routes if isinstance(route, APIRoute | APIWebSocketRoute)]
    assert [route.path for route in own] == ["/api/things/{name}", "/api/things/{name}", "/api/things/{name}/stream"]
    assert len(list(iter_route_contexts(app.routes))) == len(app.routes)


async def test_they_answer_as_if_they_had_been_included(app: FastAPI) -> None:
    async with AsyncClient(transport=ASGITransport(app), base_url="http://door") as client:
        assert (await client.get("/api/things/tea")).json() == {"name": "tea", "told": "inner"}
        assert entered == ["part", "route"]
        assert (await client.post("/api/things/tea")).status_code == 202
        assert (await client.delete("/api/things/tea")).status_code == 405
        assert (await client.get("/api/thing/tea")).status_code == 404
        assert (await client.get("/things/tea")).status_code == 404
    assert entered[2:] == ["part"]


def test_streams_have_the_part_before_them_too(app: FastAPI) -> None:
    stream = next(route for route in app.routes if isinstance(route, APIWebSocketRoute))
    assert [inner.call for inner in stream.dependant.dependencies] == [entrance]


def test_the_document_is_the_one_of_the_tree(app: FastAPI) -> None:
    entry = app.openapi()["paths"]["/api/things/{name}"]["get"]
    assert (entry["tags"], entry["summary"]) == (["things"], "Get a thing")
    assert entry["responses"]["404"]["description"] == "No such thing"
