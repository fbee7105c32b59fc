"""Who calls, as the layers of the door see it."""

import pytest

from cdp_analytics_api.door.callers import caller_of
from cdp_runtime.clients import networks

PROXIES = networks(["10.0.0.0/8"])


@pytest.mark.parametrize(
    ("lines", "client"),
    [
        ([], "10.0.0.1"),
        ([b"203.0.113.5"], "203.0.113.5"),
        ([b"6.6.6.6, 203.0.113.5"], "203.0.113.5"),
        ([b"6.6.6.6", b"203.0.113.5"], "203.0.113.5"),
        ([b"203.0.113.5", b"10.0.0.9"], "203.0.113.5"),
    ],
)
def test_an_address_is_chosen_by_the_proxy_also_when_it_adds_a_line(lines: list[bytes], client: str) -> None:
    scope = {
        "type": "http",
        "client": ("10.0.0.1", 4711),
        "headers": [(b"x-forwarded-for", line) for line in lines],
        "query_string": b"",
    }
    assert caller_of(scope, PROXIES).client == client
