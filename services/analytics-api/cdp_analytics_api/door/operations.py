"""The mounted routes -> what each endpoint is: its path, and the scope it asks for."""

import re
from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any, Final

from fastapi import FastAPI
from fastapi.dependencies.models import Dependant
from fastapi.routing import iter_route_contexts
from starlette.routing import compile_path

from cdp_runtime.auth import Principal

Scope = Mapping[str, Any]
# whatever the scope; a funnel's breakdown shows what events say, addresses too
_OF_PERSONS: Final = ("/profiles/", "/members", "/preview", "/deliveries", "/suppressions", "/analytics/funnel")


@dataclass(frozen=True, slots=True)
class Operation:
    """One endpoint: its path template, methods (none for a WebSocket) and the scope it requires, '' for none."""

    path: str
    methods: frozenset[str] = frozenset()
    scope: str = ""

    @property
    def is_personal(self) -> bool:
        """It reads or changes data of persons, so every call is audited; sent events are their own record."""
        area = self.scope.partition(":")[0]
        names_persons = any(part in self.path for part in _OF_PERSONS)
        return area in ("profiles", "consent") or self.scope == "events:read" or names_persons

    @property
    def is_read(self) -> bool:
        return self.scope.endswith(":read")


# not one of ours; one label for all of them keeps the metrics bounded
_NONE: Final = Operation("(none)")


class Operations:
    """All endpoints of an application, found once."""

    def __init__(self, app: FastAPI) -> None:
        self._by_endpoint: dict[Any, Operation] = {}
        self._by_path: list[tuple[re.Pattern[str], Operation]] = []
        for context in iter_route_contexts(app.routes):
            endpoint, path = context.endpoint, context.path
            if endpoint is None or path is None:
                continue
            scope = next(_scopes(getattr(context, "dependant", None)), "")
            operation = Operation(path, frozenset(context.methods or ()), scope)
            self._by_endpoint[endpoint] = operation
            self._by_path.append((compile_path(path)[0], operation))

    def of(self, scope: Scope) -> Operation:
        """The operation that an ASGI scope reached, or would have reached had a layer not answered before."""
        endpoint = scope.get("endpoint")
        if endpoint is not None:
            return self._by_endpoint.get(endpoint, _NONE)
        method = scope.get("method", "")
        for pattern, operation in self._by_path:
            if pattern.match(scope["path"]) and (method in operation.methods or not operation.methods):
                return operation
        return _NONE

    def all(self) -> Iterable[Operation]:
        return self._by_endpoint.values()


def principal_of(scope: Scope) -> Principal | None:
    """Who called, once a dependency has found out."""
    found = scope.get("state", {}).get("principal")
    return found if isinstance(found, Principal) else None


def _scopes(dependant: Dependant | None) -> Iterator[str]:
    if dependant is None:
        return
    call: Callable[..., Any] | None = dependant.call
    scope = getattr(call, "scope", None)
    if isinstance(scope, str):
        yield scope
    for inner in dependant.dependencies:
        yield from _scopes(inner)
