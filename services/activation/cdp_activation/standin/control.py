"""The stand-in's own API, for tests and the curious: what it holds, which calls came, what trouble to make."""

from typing import Any

from fastapi import APIRouter

from cdp_activation.standin.state import State
from cdp_activation.standin.trouble import Trouble, Troubles


def router(state: State, troubles: Troubles) -> APIRouter:
    """Routes under ``/_standin``."""
    routes = APIRouter(prefix="/_standin", tags=["stand-in"])

    @routes.get("/audiences", summary="Audiences and how many members they have")
    async def audiences() -> list[dict[str, Any]]:
        return state.audiences()

    @routes.get("/members", summary="Members of one audience, as they were sent")
    async def members(audience: str) -> list[dict[str, str]]:
        return state.members(audience)

    @routes.get("/webhook-members", summary="Members that webhooks told of")
    async def webhook_members(audience: str | None = None) -> list[dict[str, Any]]:
        return state.hooked(audience)

    @routes.get("/calls", summary="The last calls, newest first")
    async def calls(limit: int = 100, target: str | None = None) -> list[dict[str, Any]]:
        return state.calls(limit, target)

    @routes.get("/trouble", summary="The trouble it was told to make")
    async def trouble() -> list[Trouble]:
        return troubles.asked

    @routes.post("/trouble", summary="Make trouble", status_code=201)
    async def make_trouble(trouble: Trouble) -> Trouble:
        troubles.asked.append(trouble)
        return trouble

    @routes.delete("/trouble", summary="Make no more trouble", status_code=204)
    async def calm() -> None:
        troubles.asked.clear()

    @routes.delete("/state", summary="Forget members and calls", status_code=204)
    async def reset() -> None:
        state.reset()

    return routes
