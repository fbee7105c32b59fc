"""A connection's address and headers -> the client's own ip and userAgent, for events that a device sent itself."""

from collections.abc import Mapping, Sequence
from typing import Final

from cdp_runtime.clients import Network, client_address

_LONGEST_AGENT: Final = 512


def client_facts(peer: str, headers: Mapping[bytes, bytes], proxies: Sequence[Network]) -> dict[str, str]:
    """``ip`` and ``userAgent`` as far as they are known."""
    facts = {}
    if address := client_address(peer, headers.get(b"x-forwarded-for", b""), proxies):
        facts["ip"] = address
    agent = headers.get(b"user-agent", b"").decode("latin-1").strip()
    if agent:
        facts["userAgent"] = agent[:_LONGEST_AGENT]
    return facts
