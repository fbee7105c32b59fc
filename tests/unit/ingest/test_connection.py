"""Who calls: the client's own facts, and the write key in the order of the contract."""

from base64 import b64encode

import pytest

from cdp_ingest.connection import client_facts
from cdp_ingest.credentials import header_keys, query_keys


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
    assert query_keys(b"writeKey=a&writeKey=b") == ["a"], "a list of keys is guessing"
