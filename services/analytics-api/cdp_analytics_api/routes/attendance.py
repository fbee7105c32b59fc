"""A connection -> a listener: whose token it is, whether there is a seat, what it wants, and when it has to end."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass
from typing import Annotated, Final

from fastapi import Depends, Query
from starlette.requests import HTTPConnection

from cdp_analytics_api.door.callers import token_of
from cdp_analytics_api.live import REVOKED, SLOW, UNCHECKED, Interest, Listener, Listeners
from cdp_analytics_api.ports import Directory
from cdp_analytics_api.references import resolve
from cdp_analytics_api.routes.events import known_type
from cdp_analytics_api.seats import Seats
from cdp_runtime.auth import Authenticator, Principal, admit
from cdp_runtime.envelope import ApiError
from cdp_schemas.event_names import names_matching

SCOPE: Final = "events:read"
_UNCHECKED_S: Final = 300.0  # an outage of the store of tokens closes nothing at first


@dataclass(frozen=True, slots=True)
class StreamQuery:
    """What a listener wants to see."""

    type: Annotated[str | None, Query(description="an event type", examples=["purchase"])] = None
    event: Annotated[str | None, Query(max_length=200, description="an event name")] = None
    profile: Annotated[str | None, Query(alias="profileId", max_length=500, description="id or kind:value")] = None


async def listening(connection: HTTPConnection) -> Principal:
    """The caller, by header, subprotocol (``bearer, <token>``) or ``?token=``: browsers cannot set headers here."""
    authenticator: Authenticator = connection.app.state.authenticator
    token = token_of(connection)
    principal = await authenticator.principal(token) if token else None
    if principal is None:
        message = "Send an API token: the Authorization header, the subprotocols bearer and <token>, or ?token=."
        raise ApiError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
    admit(connection.scope, principal)
    if SCOPE not in principal.scopes:
        raise ApiError(403, "forbidden", f"This API token lacks the scope {SCOPE}.")
    return principal


listening.scope = SCOPE  # type: ignore[attr-defined] # read by the audit and the OpenAPI document
Caller = Annotated[Principal, Depends(listening)]
Wanted = Annotated[StreamQuery, Depends()]


@dataclass(frozen=True, slots=True)
class Care:
    """How streams are looked after: who may have how many, how often their tokens are checked, how slow is too slow."""

    seats: Seats
    check_seconds: float
    stall_seconds: float


class Attendance:
    """Seats connections as listeners, and ends those that may not or do not listen any more."""

    def __init__(self, listeners: Listeners, directory: Directory, care: Care) -> None:
        self._listeners, self._directory, self.care = listeners, directory, care

    async def attend(self, connection: HTTPConnection, principal: Caller, wanted: Wanted) -> AsyncIterator[Listener]:
        """A dependency: the listener of this connection, for as long as it lasts."""
        asked = await self._interest(connection, principal, wanted)
        holders = {
            "token": f"{principal.workspace_id}/{principal.token_id}",
            "workspace": principal.workspace_id,
            "client": connection.state.caller.client,
        }
        with self.care.seats.taken(holders):
            listener = self._listeners.add(asked)
            watching = asyncio.create_task(_watch(connection, principal, listener, self.care))
            try:
                yield listener
            finally:
                watching.cancel()
                self._listeners.remove(listener)

    async def _interest(self, connection: HTTPConnection, principal: Principal, wanted: StreamQuery) -> Interest:
        workspace, facets = principal.workspace_id, connection.app.state.facets
        profile = await resolve(workspace, wanted.profile, facets, self._directory) if wanted.profile else None
        return Interest(
            workspace_id=workspace,
            type=known_type(wanted.type),
            names=frozenset(names_matching(wanted.event)) if wanted.event else None,
            profile=profile,
        )


async def _watch(connection: HTTPConnection, principal: Principal, listener: Listener, care: Care) -> None:
    """Ends the stream when its token opens it no more, or when its client does not read."""
    authenticator: Authenticator = connection.app.state.authenticator
    token, now = token_of(connection), asyncio.get_running_loop().time
    checked = now()
    while listener.ending is None:
        await asyncio.sleep(min(care.check_seconds, care.stall_seconds))
        since = listener.sending_since
        if since is not None and now() - since > care.stall_seconds:
            listener.end(SLOW)
        try:
            if await authenticator.principal(token) != principal:
                listener.end(REVOKED)
            checked = now()
        except ApiError:
            if now() - checked > _UNCHECKED_S:
                listener.end(UNCHECKED)
