"""Who guesses tokens or write keys is told to wait; who shares the address is not locked out."""

import random
import uuid

import httpx
import pytest
import websockets.exceptions
import websockets.sync.client

from tests.millrace import Millrace
from tests.security.tenants import Tenant

pytestmark = pytest.mark.stack
TOKENS, KEYS = 100, 300  # a minute, as the settings' defaults say


def address() -> dict[str, str]:
    """Of a client behind the proxy that runs on this machine; another for each test."""
    return {"X-Forwarded-For": f"203.0.113.{random.randrange(1, 255)}"}


def stats(millrace: Millrace, token: str, headers: dict[str, str]) -> httpx.Response:
    return millrace.api("GET", "/stats", headers={**headers, "Authorization": f"Bearer {token}"})


def test_guessing_tokens_ends_in_429_and_the_good_token_goes_on(
    millrace: Millrace, tenants: tuple[Tenant, Tenant]
) -> None:
    ada, _ = tenants
    here = address()
    assert stats(millrace, ada.token, here).is_success
    guesses = [stats(millrace, uuid.uuid4().hex, here) for _ in range(TOKENS + 30)]
    statuses = [guess.status_code for guess in guesses]
    assert set(statuses) == {401, 429} and statuses[:TOKENS] == [401] * TOKENS
    late = stats(millrace, uuid.uuid4().hex, here)
    while late.status_code != 429:  # a guess is given back each 0.6 s
        late = stats(millrace, uuid.uuid4().hex, here)
    assert late.json()["code"] == "too_many_wrong_tokens" and int(late.headers["Retry-After"]) >= 1
    stream = f"ws://127.0.0.1:{millrace.ports['API']}/api/cdp/ws/events?token={uuid.uuid4().hex}"
    with pytest.raises(websockets.exceptions.InvalidStatus) as refused:
        websockets.sync.client.connect(stream, additional_headers=here)
    assert refused.value.response.status_code in (401, 429)
    assert stats(millrace, ada.token, here).is_success, "a known token is no guess"
    assert stats(millrace, uuid.uuid4().hex, address() | {"X-Forwarded-For": "198.51.100.7"}).status_code == 401


def test_a_network_of_ipv6_addresses_is_one_guesser(millrace: Millrace) -> None:
    network = f"2001:db8:{random.randrange(0xFFFF):x}:1"
    statuses = [
        stats(millrace, uuid.uuid4().hex, {"X-Forwarded-For": f"{network}::{number:x}"}).status_code
        for number in range(1, TOKENS + 30)
    ]
    assert 429 in statuses
    assert stats(millrace, uuid.uuid4().hex, {"X-Forwarded-For": "2001:db8:ffff:2::1"}).status_code == 401


def test_guessing_write_keys_ends_in_429_and_the_good_key_goes_on(
    millrace: Millrace, tenants: tuple[Tenant, Tenant]
) -> None:
    ada, _ = tenants
    here, event = address(), ada.visit("Guessed")
    with httpx.Client(base_url=millrace.gateway, headers=here, timeout=30) as client:
        assert client.post("/v1/track", json=event, auth=(ada.write_key, "")).is_success
        statuses = [
            client.post("/v1/track", json=event, auth=(uuid.uuid4().hex, "")).status_code for _ in range(KEYS + 60)
        ]
        assert set(statuses) == {401, 429} and statuses[:KEYS] == [401] * KEYS
        while (late := client.post("/v1/track", json=event, auth=(uuid.uuid4().hex, ""))).status_code != 429:
            pass
        assert late.json()["code"] == "keys_guessed" and int(late.headers["Retry-After"]) >= 1
        assert client.post("/v1/track", json=event, auth=(ada.write_key, "")).is_success, "a known key is no guess"
