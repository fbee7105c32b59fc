"""Who calls: the address that cannot be forged, and the write key in the order of the contract."""

from base64 import b64encode

import pytest

from cdp_ingest.connection import client_address, client_facts, networks
from cdp_ingest.credentials import header_keys, query_keys

PROXIES = networks(["10.0.0.0/8", "::1/128"])


@pytest.mark.parametrize(
    ("peer", "forwarded", "expected"),
    [
        ("8.8.8.8", b"", "8.8.8.8"),
        ("8.8.8.8", b"1.1.1.1", "8.8.8.8"),
        ("10.0.0.1", b"1.1.1.1", "1.1.1.1"),
        ("10.0.0.1", b"6.6.6.6, 1.1.1.1, 10.0.0.9", "1.1.1.1"),
        ("10.0.0.1", b"10.0.0.7, 10.0.0.9", "10.0.0.7"),
        ("10.0.0.1", b"nonsense", "10.0.0.1"),
        ("::1", b"2001:db8::1", "2001:db8::1"),
    ],
)
def test_only_trusted_proxies_tell_the_address(peer: str, forwarded: bytes, expected: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == expected


def test_the_user_agent_is_taken_and_bounded() -> None:
    assert client_facts("8.8.8.8", {b"user-agent": b"A" * 900}, ()) == {"ip": "8.8.8.8", "userAgent": "A" * 512}
    assert client_facts("", {}, ()) == {}


def basic(text: str) -> bytes:
    return b"Basic " + b64encode(text.encode())


@pytest.mark.parametrize(
    ("header", "keys"),
    [
        (basic("key:"), ["key"]),
        (basic("key"), ["key"]),
        (basic("key:secret"), ["key"]),
        (basic(":"), []),
        (b"basic " + b64encode(b"key:"), ["key"]),
        (b"Basic !!!", []),
        (b"Basic \xff", []),
        (b"Bearer token", ["token"]),
        (b"Digest x", []),
        (b"", []),
    ],
)
def test_the_key_in_the_header(header: bytes, keys: list[str]) -> None:
    assert header_keys({b"authorization": header}) == keys


def test_the_key_in_the_query() -> None:
    assert query_keys(b"writeKey=a%20b&x=1") == ["a b"]
    assert query_keys(b"x=1") == []
