"""A connection's peer and headers -> the client's address that it cannot forge, and what counts as one client."""

from collections.abc import Sequence
from ipaddress import IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import Final

Network = IPv4Network | IPv6Network
_HOST_BITS: Final = 64  # of an IPv6 address: whoever has one has them all
_MAPPED: Final = "::ffff:"  # how an IPv4 address comes to a server that listens on [::]


def networks(names: Sequence[str]) -> tuple[Network, ...]:
    """CIDR blocks. Raises ValueError for what is none."""
    return tuple(ip_network(name.strip(), strict=False) for name in names if name.strip())


def client_address(peer: str, forwarded: bytes, proxies: Sequence[Network]) -> str:
    """The peer, or the last address of X-Forwarded-For that no trusted proxy has: those before it may be forged."""
    peer = _as_it_is(peer)
    if not forwarded or not _within(peer, proxies):
        return peer
    hops = [_as_it_is(hop.strip()) for hop in forwarded.decode("latin-1").split(",")]
    for hop in reversed(hops):
        if not _is_address(hop):
            return peer
        if not _within(hop, proxies):
            return hop
    return hops[0]


def client_block(address: str) -> str:
    """What is counted as one client: an IPv4 address, or the /64 of an IPv6 address."""
    try:
        parsed = ip_address(address)
    except ValueError:
        return address or "unknown"
    if not isinstance(parsed, IPv6Address):
        return address
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return f"{IPv6Address(int(parsed) >> _HOST_BITS << _HOST_BITS)}/{128 - _HOST_BITS}"


def _as_it_is(address: str) -> str:
    """An IPv4 address that came as one of IPv6, by itself: no network of IPv4 has the other."""
    return address.removeprefix(_MAPPED) if "." in address else address


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
