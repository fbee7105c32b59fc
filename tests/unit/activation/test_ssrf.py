"""No address inside is reached, however it is written and whenever its name changes."""

import pytest

from cdp_activation.adapters.http import HttpCalls
from cdp_activation.destinations.destination import HttpRequest
from cdp_activation.ports import CallFailed
from cdp_activation.ssrf import ForbiddenTarget, TargetPolicy, check_url, resolve_checked

POLICY = TargetPolicy()


@pytest.mark.parametrize(
    "host",
    [
        *("127.0.0.1", "127.1", "2130706433", "0x7f000001", "0177.0.0.1", "0x7f.1", "0.0.0.0", "017700000001"),
        *("10.0.0.1", "172.16.0.1", "192.168.1.1", "169.254.169.254", "100.64.0.1", "100.100.100.200"),
        *("192.0.0.1", "198.18.0.1", "203.0.113.1", "224.0.0.1", "240.0.0.1", "255.255.255.255"),
        *("[::1]", "[::]", "[::ffff:127.0.0.1]", "[::ffff:7f00:1]", "[fc00::1]", "[fd00:ec2::254]", "[fe80::1]"),
        *("[64:ff9b::7f00:1]", "[2002:7f00:1::]", "[ff02::1]", "[::127.0.0.1]", "[2001:db8::1]", "[fe80::1%25eth0]"),
    ],
)
def test_an_address_inside_is_refused(host: str) -> None:
    with pytest.raises(ForbiddenTarget):
        check_url(f"https://{host}/", POLICY)


@pytest.mark.parametrize(
    "url",
    [
        *("http://example.com/", "ftp://example.com/", "file:///etc/passwd", "gopher://example.com", "https:///x", ""),
        *("https://user:secret@example.com/", "https://user@example.com/", "https://example.com:22/", "//example.com"),
        *("https://example.com:99999/", "https://[::1/", "https://example.com:6379/"),
        *("https://１２７.０.０.１/", "https://127。0。0。1/", "https://ⓛocalhost/"),
    ],
)
def test_an_address_that_is_no_public_https_is_refused(url: str) -> None:
    with pytest.raises(ForbiddenTarget):
        check_url(url, POLICY)


@pytest.mark.parametrize("url", ["https://example.com/hook?a=b", "https://8.8.8.8/", "https://[2606:4700::1]:8443/x"])
def test_an_ordinary_address_is_allowed(url: str) -> None:
    check_url(url, POLICY)


async def resolve_to(*addresses: str):
    async def resolve(host: str, port: int):
        return list(addresses)

    return resolve


async def test_every_address_of_a_name_must_be_public() -> None:
    assert await resolve_checked("a.example", 443, POLICY, await resolve_to("8.8.8.8")) == "8.8.8.8"
    with pytest.raises(ForbiddenTarget, match=r"10\.0\.0\.1"):
        await resolve_checked("a.example", 443, POLICY, await resolve_to("8.8.8.8", "10.0.0.1"))
    with pytest.raises(ForbiddenTarget):
        await resolve_checked("a.example", 443, POLICY, await resolve_to("::ffff:10.0.0.1"))


async def test_a_name_that_changes_between_check_and_call_is_caught_at_the_call() -> None:
    answers = iter([["8.8.8.8"], ["169.254.169.254"]])
    asked: list[str] = []

    async def rebinding(host: str, port: int):
        asked.append(host)
        return next(answers)

    assert await resolve_checked("evil.example", 443, POLICY, rebinding) == "8.8.8.8"
    calls = HttpCalls(POLICY, rebinding)
    with pytest.raises(CallFailed, match="not an address on the public internet") as failure:
        await calls.send(HttpRequest("POST", "https://evil.example/", {}, b"{}", 2.0))
    await calls.stop()
    assert failure.value.forbidden and not failure.value.sent and asked == ["evil.example"] * 2


def test_exempt_are_only_the_very_pairs_of_the_local_stack() -> None:
    policy = TargetPolicy(allowed=frozenset({"127.0.0.1:8002"}))
    check_url("http://127.0.0.1:8002/webhook", policy)
    for url in ("http://127.0.0.1:8003/", "http://localhost:8002/", "http://127.0.0.1/", "https://127.0.0.1:443/"):
        with pytest.raises(ForbiddenTarget):
            check_url(url, policy)
