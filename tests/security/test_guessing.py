"""Who guesses tokens or write keys is told to wait; who shares the address is not locked out."""

import random
import uuid
from collections import Counter
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import httpx
import pytest
from websockets.exceptions import InvalidStatus
from websockets.sync.client import connect

from tests.millrace import Millrace
from tests.security.tenants import Tenant

pytestmark = pytest.mark.stack
TOKENS, KEYS = 100, 300  # a minute, as the settings' defaults say


def address() -> dict[str, str]:
    """Of a client behind the proxy that runs on this machine; another for each test."""
    return {"X-Forwarded-For": f"198.18.{random.randrange(256)}.{random.randrange(256)}"}


def guessed(guess: Callable[[int], httpx.Response], times: int) -> list[httpx.Response]:
    """The answers to many guesses, from as many sides at once as it takes to be faster than what is given back."""
    with ThreadPoolExecutor(16) as pool:
        return list(pool.map(guess, range(times)))


def statuses(answers: list[httpx.Response]) -> Counter[int]:
    return Counter(answer.status_code for answer in answers)


class Door:
    """The front door, asked from one connection pool: a guesser is quick."""

    def __init__(self, millrace: Millrace) -> None:
        base = f"http://127.0.0.1:{millrace.ports['API']}/api/cdp"
        self.client = httpx.Client(base_url=base, timeout=30)

    def stats(self, token: str, headers: dict[str, str]) -> httpx.Response:
        return self.client.get("/stats", headers={**headers, "Authorization": f"Bearer {token}"})


@pytest.fixture
def door(millrace: Millrace) -> Iterator[Door]:
    door = Door(millrace)
    yield door
    door.client.close()


def test_guessing_tokens_ends_in_429_and_the_good_token_goes_on(
    millrace: Millrace, door: Door, tenants: tuple[Tenant, Tenant]
) -> None:
    good, here = tenants[0].token, address()
    assert door.stats(good, here).is_success
    answers = guessed(lambda _: door.stats(uuid.uuid4().hex, here), 3 * TOKENS)
    found = statuses(answers)
    assert set(found) == {401, 429} and TOKENS <= found[401] < 2 * TOKENS, found
    late = next(answer for answer in answers if answer.status_code == 429)
    assert late.json()["code"] == "too_many_wrong_tokens" and int(late.headers["Retry-After"]) >= 1
    stream = f"ws://127.0.0.1:{millrace.ports['API']}/api/cdp/ws/events?token={uuid.uuid4().hex}"
    with pytest.raises(InvalidStatus) as refused, connect(stream, additional_headers=here):
        pass
    assert refused.value.response.status_code in (401, 429)
    assert door.stats(good, here).is_success, "a known token is no guess"
    assert door.stats(uuid.uuid4().hex, address()).status_code == 401, "another address has not guessed yet"


def test_a_network_of_ipv6_addresses_is_one_guesser(door: Door) -> None:
    network = f"2001:db8:{random.randrange(0xFFFF):x}"
    found = statuses(
        guessed(
            lambda number: door.stats(uuid.uuid4().hex, {"X-Forwarded-For": f"{network}:1::{number + 1:x}"}),
            3 * TOKENS,
        )
    )
    assert found[429] > 0, found
    assert door.stats(uuid.uuid4().hex, {"X-Forwarded-For": f"{network}:2::1"}).status_code == 401


def test_guessing_write_keys_ends_in_429_and_the_good_key_goes_on(
    millrace: Millrace, tenants: tuple[Tenant, Tenant]
) -> None:
    ada, _ = tenants
    event = ada.visit("Guessed")
    with httpx.Client(base_url=millrace.gateway, headers=address(), timeout=30) as client:

        def track(key: str) -> httpx.Response:
            return client.post("/v1/track", json=event, auth=(key, ""))

        assert track(ada.write_key).is_success
        answers = guessed(lambda _: track(uuid.uuid4().hex), 3 * KEYS)
        found = statuses(answers)
        assert set(found) == {401, 429} and KEYS <= found[401] < 2 * KEYS, found
        late = next(answer for answer in answers if answer.status_code == 429)
        assert late.json()["code"] == "keys_guessed" and int(late.headers["Retry-After"]) >= 1
        assert track(ada.write_key).is_success, "a known key is no guess"
