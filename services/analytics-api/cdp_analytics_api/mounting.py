"""A part's routers, however nested -> routes side by side in the application: each request is matched once."""

from collections.abc import Callable, Sequence
from inspect import signature
from typing import Any, Final

from fastapi import APIRouter, FastAPI
from fastapi.params import Depends
from fastapi.routing import APIRoute, iter_route_contexts
from starlette.routing import Match
from starlette.types import Scope

_OPTIONS: Final = set(signature(APIRouter.add_api_route).parameters) - {
    *("self", "path", "endpoint", "route_class_override", "form_limits")
}


class _Route(APIRoute):
    """Looks for the fixed beginning of its path first: of dozens of routes that are asked nearly all are others."""

    def __init__(self, path: str, endpoint: Callable[..., Any], **options: Any) -> None:
        super().__init__(path, endpoint, **options)
        self._beginning = path.partition("{")[0]

    def matches(self, scope: Scope) -> tuple[Match, Scope]:
        if self._beginning not in scope["path"]:
            return Match.NONE, {}
        return super().matches(scope)


def mount(app: FastAPI, router: APIRouter, prefix: str, dependencies: Sequence[Depends]) -> None:
    """What ``include_router`` does, but that keeps the tree, and goes through all of it once for each of its levels."""
    tree = APIRouter()
    tree.include_router(router, prefix=prefix, dependencies=dependencies)
    for context in iter_route_contexts(tree.routes):
        assert context.path is not None and context.endpoint is not None
        if context.methods is None:
            app.router.add_api_websocket_route(
                context.path, context.endpoint, context.name, dependencies=context.dependencies
            )
        else:
            options = {name: getattr(context, name) for name in _OPTIONS}
            app.router.add_api_route(context.path, context.endpoint, route_class_override=_Route, **options)
