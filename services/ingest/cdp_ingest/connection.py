"""A connection's address and headers -> the client's own ip and userAgent, for events that a device sent itself."""

from collections.abc import Mapping, Sequence
from ipaddress import IPv4Network, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
_LONGEST_AGENT: Final = 512


def networks(names: Sequence[str]) -> tuple[Network, ...]:
    """CIDR blocks. Raises ValueError for what is none."""
    return tuple(ip_network(name.strip(), strict=False) for name in names if name.strip())


def client_facts(peer: str, headers: Mapping[bytes, bytes], proxies: Sequence[Network]) -> dict[str, str]:
    """``ip`` and ``userAgent`` as far as they are known."""
    facts = {}
    if address := client_address(peer, headers.get(b"x-forwarded-for", b""), proxies):
        facts["ip"] = address
    agent = headers.get(b"user-agent", b"").decode("latin-1").strip()
    if agent:
        facts["userAgent"] = agent[:_LONGEST_AGENT]
    return facts


def client_address(peer: str, forwarded: bytes, proxies: Sequence[Network]) -> str:
    """The peer, or the last address of X-Forwarded-For that no trusted proxy has: those before it may be forged."""
    if not forwarded or not _within(peer, proxies):
        return peer
    hops = [hop.strip() for hop in forwarded.decode("latin-1").split(",")]
    for hop in reversed(hops):
        if not _is_address(hop):
            return peer
        if not _within(hop, proxies):
            return hop
    return hops[0]


def _within(address: str, proxies: Sequence[Network]) -> bool:
    try:
        parsed = ip_address(address)
    except ValueError:
        return False
    return any(parsed in network for network in proxies)


def _is_address(text: str) -> bool:
    try:
        ip_address(text)
    except ValueError:
        return False
    return True
