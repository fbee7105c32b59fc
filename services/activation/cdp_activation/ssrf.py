"""Addresses that workspaces entered -> the one public IP that may be connected to, or a refusal with its reason."""

import asyncio
import ipaddress
import re
import socket
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Final
from urllib.parse import urlsplit

import httpx

Address = ipaddress.IPv4Address | ipaddress.IPv6Address
Resolve = Callable[[str, int], Awaitable[Sequence[str]]]
# ranges that carry an IPv4 address inside, or lead into the provider's own network
_DENIED: Final = tuple(
    ipaddress.ip_network(text)
    for text in (
        *("0.0.0.0/8", "100.64.0.0/10", "192.0.0.0/24", "192.88.99.0/24", "198.18.0.0/15", "240.0.0.0/4"),
        *("64:ff9b::/96", "64:ff9b:1::/48", "2001::/23", "2002::/16", "fec0::/10", "fd00:ec2::/32", "::/96"),
    )
)
_NUMBERS: Final = re.compile(r"(0[xX][0-9a-fA-F]*|[0-9.])+")


class ForbiddenTarget(ValueError):
    """This address must not be called. The message says why, in words for whoever entered it."""


@dataclass(frozen=True, slots=True)
class TargetPolicy:
    """``allowed`` are host:port pairs of the local stack that are exempt; plain http is for them alone."""

    ports: frozenset[int] = frozenset({443, 8443})
    allowed: frozenset[str] = frozenset()


def check_url(url: str, policy: TargetPolicy) -> None:
    """What can be told without looking up the name. Raises ForbiddenTarget."""
    try:
        parts = urlsplit(url)
        port = parts.port
        # as it will be called: other digits and dots of Unicode are those of ASCII by then
        host = httpx.URL(url).raw_host.decode()
    except (ValueError, httpx.InvalidURL) as error:
        raise ForbiddenTarget(f"the address cannot be read: {error}") from error
    if parts.scheme not in ("https", "http") or not host:
        raise ForbiddenTarget("the address must begin with https:// and name a host")
    if parts.username is not None or parts.password is not None:
        raise ForbiddenTarget("the address must not hold a name or password: enter them as credentials")
    port = port or (443 if parts.scheme == "https" else 80)
    if f"{host}:{port}" in policy.allowed:
        return
    if parts.scheme != "https":
        raise ForbiddenTarget("the address must begin with https://")
    check_host(host, port, policy)


def check_host(host: str, port: int, policy: TargetPolicy) -> None:
    """Port and spelling of a host that is not exempt. Raises ForbiddenTarget."""
    if port not in policy.ports:
        allowed = ", ".join(map(str, sorted(policy.ports)))
        raise ForbiddenTarget(f"port {port} is not allowed, use {allowed}")
    literal = _literal(host)
    if literal is not None:
        check_address(literal)
    elif _NUMBERS.fullmatch(host.rstrip(".")):
        # 2130706433, 0177.0.0.1 and 127.1 are ways of writing an address past a filter
        raise ForbiddenTarget(f"{host} is an unusual way to write an IP address")


def check_address(address: Address) -> None:
    """Raises ForbiddenTarget unless the address is an ordinary one on the public internet."""
    inner = _inner(address)
    public = inner.is_global and not inner.is_multicast and not inner.is_reserved and not inner.is_unspecified
    if not public or any(inner.version == net.version and inner in net for net in _DENIED):
        raise ForbiddenTarget(f"{address} is not an address on the public internet")


async def resolve_checked(host: str, port: int, policy: TargetPolicy, resolve: Resolve) -> str:
    """The IP to connect to, of a name looked up now. Every address of the name must be public. Raises ForbiddenTarget.

    Checking at the moment of connecting, and connecting to what was checked, leaves no time to change the name.
    """
    if f"{host}:{port}" in policy.allowed:
        return host
    check_host(host, port, policy)
    addresses = [host] if _literal(host) is not None else list(await resolve(host, port))
    if not addresses:
        raise ForbiddenTarget(f"{host} has no address")
    for text in addresses:
        check_address(ipaddress.ip_address(text.partition("%")[0]))
    return addresses[0]


async def system_resolve(host: str, port: int) -> Sequence[str]:
    """The system's resolver. Raises OSError when the name is unknown."""
    found = await asyncio.get_running_loop().getaddrinfo(host, port, type=socket.SOCK_STREAM)
    return list(dict.fromkeys(str(entry[4][0]) for entry in found))


def _literal(host: str) -> Address | None:
    try:
        return ipaddress.ip_address(host.strip("[]").partition("%")[0])
    except ValueError:
        return None


def _inner(address: Address) -> Address:
    if isinstance(address, ipaddress.IPv6Address) and address.ipv4_mapped is not None:
        return address.ipv4_mapped
    return address
