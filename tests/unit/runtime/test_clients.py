"""The client's address that cannot be forged, and what counts as one client."""

import pytest

from cdp_runtime.clients import client_address, client_block, networks

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
        ("::ffff:8.8.8.8", b"", "8.8.8.8"),
        ("::ffff:10.0.0.1", b"1.1.1.1", "1.1.1.1"),
        ("::ffff:10.0.0.1", b"::ffff:1.1.1.1, ::ffff:10.0.0.9", "1.1.1.1"),
    ],
)
def test_only_trusted_proxies_tell_the_address(peer: str, forwarded: bytes, expected: str) -> None:
    assert client_address(peer, forwarded, PROXIES) == expected


@pytest.mark.parametrize(
    ("address", "block"),
    [
        ("8.8.8.8", "8.8.8.8"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("2001:db8:1:2::1", "2001:db8:1:2::/64"),
        ("2001:db8:1:3::1", "2001:db8:1:3::/64"),
        ("::ffff:8.8.8.8", "8.8.8.8"),
        ("fe80::1%eth0", "fe80::/64"),
        ("testclient", "testclient"),
        ("", "unknown"),
    ],
)
def test_a_host_that_has_a_network_of_addresses_is_one_client(address: str, block: str) -> None:
    assert client_block(address) == block
