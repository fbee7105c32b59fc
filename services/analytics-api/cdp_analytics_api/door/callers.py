"""An ASGI scope -> who calls: the API token, wherever it was put, and the address that counts as one client."""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from starlette.requests import HTTPConnection

from cdp_analytics_api.door.requests import Scope
from cdp_runtime.auth import hash_token
from cdp_runtime.clients import Network, client_address, client_block

SUBPROTOCOL: Final = "bearer"


@dataclass(frozen=True, slots=True)
class Caller:
    """``token`` is '' when none came; ``client`` is an address or the network that stands for it."""

    token: str
    client: str

    @property
    def key(self) -> str:
        """Whose requests are counted together."""
        return "token:" + hash_token(self.token) if self.token else "address:" + self.client


def caller_of(scope: Scope, proxies: Sequence[Network]) -> Caller:
    """Who calls, as the layers before the routes see it."""
    connection = HTTPConnection(scope)
    peer = connection.client.host if connection.client else ""
    # a proxy may add a line of its own below the one that the client sent
    forwarded = ",".join(connection.headers.getlist("x-forwarded-for")).encode("latin-1", "replace")
    return Caller(token_of(connection), client_block(client_address(peer, forwarded, proxies)))


def token_of(connection: HTTPConnection) -> str:
    """By header, subprotocol (``bearer, <token>``) or ``?token=``: a browser's streams cannot set headers."""
    kind, _, token = connection.headers.get("authorization", "").partition(" ")
    if kind.lower() == "bearer":
        return token.strip()
    protocols: list[str] = connection.scope.get("subprotocols", [])
    if SUBPROTOCOL in protocols[:-1]:
        return protocols[protocols.index(SUBPROTOCOL) + 1]
    return connection.query_params.get("token", "")
