"""What a service gives to the front door: a router, a lifetime and facets that others compose with."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import APIRouter  # the services' own processes have no routes and must not pay for it

# (workspace_id, ids or references) -> answers; what it means is the facet's own docstring
Facet = Callable[[str, Sequence[Any]], Awaitable[Mapping[Any, Any]]]


async def _nothing() -> None:
    return None


def _no_faults() -> Mapping[str, str]:
    return {}


@dataclass(frozen=True, slots=True)
class ApiPart:
    """One service's part of the front door. Entry point group ``cdp.api``: a callable that builds one.

    Routers are mounted under ``/api/cdp``. Facets are collected in ``app.state.facets`` by name, so that routers
    compose answers without importing one another: ``segments`` (profile ids -> segment ids), ``profiles`` (ids ->
    profile objects), ``resolve`` (references -> profile ids), ``counts`` and so on.
    """

    name: str
    router: APIRouter
    start: Callable[[], Awaitable[None]] = _nothing
    stop: Callable[[], Awaitable[None]] = _nothing
    faults: Callable[[], Mapping[str, str]] = _no_faults
    facets: Mapping[str, Facet] = field(default_factory=dict)
