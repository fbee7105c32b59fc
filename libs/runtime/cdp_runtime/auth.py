"""Bearer token -> principal with scopes; the store of tokens belongs to the front door."""

from collections.abc import Awaitable, Callable, MutableMapping
from dataclasses import dataclass
from hashlib import sha256
from typing import Any, Final, Protocol

from fastapi import Request
from fastapi.security import HTTPBearer
from fastapi.security.base import SecurityBase

from cdp_runtime.envelope import ApiError
from cdp_runtime.tenancy import enter_workspace

SCOPES: Final = frozenset(
    {
        *("events:write", "events:read", "profiles:read", "profiles:write", "profiles:pii"),
        *("segments:read", "segments:write", "audiences:read", "audiences:write"),
        *("destinations:read", "destinations:write", "consent:read", "consent:write"),
        *("analytics:read", "system:read"),
    }
)
_bearer = HTTPBearer(auto_error=False, description="An API token, for example `demo-api-token` on the local stack.")


@dataclass(frozen=True, slots=True)
class Principal:
    """Who calls: one token of one workspace."""

    workspace_id: str
    token_id: str
    scopes: frozenset[str]


class Authenticator(Protocol):
    """Finds the principal of a token; the app keeps one in ``app.state.authenticator``."""

    async def principal(self, token: str) -> Principal | None:
        """None for an unknown or revoked token. Raises ApiError 503 when that cannot be told."""


def hash_token(token: str) -> str:
    """What is stored of a token or a write key: SHA-256, hex. Both are random and long, so no salt is needed."""
    return sha256(token.encode()).hexdigest()


async def authenticate(request: Request) -> Principal:
    """The caller. Raises ApiError 401."""
    credentials = await _bearer(request)
    if credentials is None:
        raise _unauthorized("Send an API token: Authorization: Bearer <token>.")
    authenticator: Authenticator = request.app.state.authenticator
    principal = await authenticator.principal(credentials.credentials)
    if principal is None:
        raise _unauthorized("This API token is unknown or was revoked.")
    admit(request.scope, principal)
    return principal


def admit(scope: MutableMapping[str, Any], principal: Principal) -> None:
    """From here on the request (an ASGI scope) speaks for this principal: on record, and to Postgres."""
    scope.setdefault("state", {})["principal"] = principal
    enter_workspace(principal.workspace_id)


class _Allowed(SecurityBase):
    """A dependency without dependencies: FastAPI solves each of those anew for every request.

    It is a security scheme itself, the same one whatever its ``scope``; the OpenAPI document reads both.
    """

    model, scheme_name = _bearer.model, _bearer.scheme_name

    def __init__(self, scope: str) -> None:
        self.scope = scope

    async def __call__(self, request: Request) -> Principal:
        principal = await authenticate(request)
        if self.scope not in principal.scopes:
            raise ApiError(403, "forbidden", f"This API token lacks the scope {self.scope}.")
        return principal


def require(scope: str) -> Callable[..., Awaitable[Principal]]:
    """A dependency that answers 403 unless the caller's token has ``scope``."""
    if scope not in SCOPES:
        raise ValueError(f"{scope!r} is not a scope")
    return _Allowed(scope)


def _unauthorized(message: str) -> ApiError:
    return ApiError(401, "unauthorized", message, headers={"WWW-Authenticate": "Bearer"})
