"""Addresses inside are refused when they are entered, and again at each connection; redirects are not followed."""

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass, field

import pytest

from cdp_activation.adapters.http import HttpCalls
from cdp_activation.destinations.destination import HttpRequest, HttpResponse
from cdp_activation.ports import CallFailed
from cdp_activation.ssrf import TargetPolicy
from tests.millrace import Millrace
from tests.security.tenants import Tenant

INSIDE = [
    *("https://127.0.0.1/", "https://127.1/", "https://2130706433/", "https://0x7f000001/", "https://0177.0.0.1/"),
    *("https://[::1]/", "https://[::ffff:127.0.0.1]/", "https://[::ffff:a9fe:a9fe]/", "https://169.254.169.254/latest"),
    *("https://10.1.2.3/", "https://[fd00::1]/", "https://0.0.0.0/", "https://user:password@example.com/"),
    *("https://ⓛocalhost/", "https://１２７.０.０.１/", "https://127。0。0。1/"),
    *("http://example.com/", "file:///etc/passwd", "https://example.com:6379/", "gopher://example.com/", "https://"),
]
LOCAL_NAMES = ["https://localhost/", "https://１２７.０.０.１/", "https://127。0。0。1/", "https://ⓛocalhost/"]


@pytest.mark.stack
@pytest.mark.parametrize("url", INSIDE)
def test_an_address_inside_cannot_be_entered(millrace: Millrace, eve: Tenant, url: str) -> None:
    credentials = {"secret": "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"}
    draft = {"name": "inside", "type": "webhook", "settings": {"url": url}, "credentials": credentials}
    facebook = {"adAccountId": "act_1", "baseUrl": url}
    answers = [
        (eve.ask("POST", "/destinations", json=draft), "settings.url"),
        (eve.ask("PUT", f"/destinations/{eve.ids['spare']}", json={"settings": {"url": url}}), "settings.url"),
        (eve.ask("PUT", f"/destinations/{eve.ids['facebook']}", json={"settings": facebook}), "settings.baseUrl"),
    ]
    for answer, path in answers:
        assert answer.status_code == 422, answer.text
        assert path in {detail["path"] for detail in answer.json()["error"]["details"]}, answer.text
        assert "password@" not in answer.text


@dataclass
class Listener:
    """A server on this machine: what it answers, and who connected."""

    answer: bytes = b"HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nsecret"
    port: int = 0
    heard: list[bytes] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.heard.append(await reader.readuntil(b"\r\n\r\n"))
        writer.write(self.answer)
        await writer.drain()
        writer.close()

    @property
    def address(self) -> str:
        return f"127.0.0.1:{self.port}"


@pytest.fixture
async def servers() -> AsyncIterator[tuple[Listener, Listener]]:
    """One that may be called, as the stand-in may, and one beside it that may not."""
    both = (Listener(), Listener())
    running = []
    for listener in both:
        server = await asyncio.start_server(listener.serve, "127.0.0.1", 0)
        listener.port = server.sockets[0].getsockname()[1]
        running.append(server)
    yield both
    for server in running:
        server.close()


async def called(url: str, policy: TargetPolicy, addresses: list[str] | None = None) -> HttpResponse:
    """The answer of a call whose names all lead to these addresses."""

    async def resolve(host: str, port: int) -> list[str]:
        return addresses or ["127.0.0.1"]

    calls = HttpCalls(policy, resolve)
    try:
        return await calls.send(HttpRequest("POST", url, {"content-type": "application/json"}, b"{}", 3.0))
    finally:
        await calls.stop()


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
async def test_a_redirect_is_an_answer_and_no_way_in(servers: tuple[Listener, Listener], status: int) -> None:
    allowed, inside = servers
    head = f"HTTP/1.1 {status} Moved\r\nlocation: http://{inside.address}/admin\r\ncontent-length: 0\r\n\r\n"
    allowed.answer = head.encode()
    answer = await called(f"http://{allowed.address}/hook", TargetPolicy(allowed=frozenset({allowed.address})))
    assert answer.status == status and answer.body == b""
    assert len(allowed.heard) == 1 and inside.heard == []


@pytest.mark.parametrize(
    "addresses",
    [
        *(["127.0.0.1"], ["::1"], ["::ffff:127.0.0.1"], ["::ffff:10.0.0.1"], ["64:ff9b::7f00:1"], ["169.254.169.254"]),
        *(["93.184.215.14", "127.0.0.1"], ["fe80::1%eth0"], ["0.0.0.0"], ["::"]),
    ],
)
async def test_a_name_that_leads_inside_is_not_connected_to(
    servers: tuple[Listener, Listener], addresses: list[str]
) -> None:
    _, inside = servers
    policy = TargetPolicy(ports=frozenset({443, inside.port}))
    with pytest.raises(CallFailed) as failure:
        await called(f"https://rebound.example:{inside.port}/", policy, addresses)
    assert failure.value.forbidden and not failure.value.sent and inside.heard == []


@pytest.mark.parametrize("url", LOCAL_NAMES)
async def test_no_spelling_of_this_machine_is_connected_to(servers: tuple[Listener, Listener], url: str) -> None:
    _, inside = servers
    policy = TargetPolicy(ports=frozenset({443, inside.port}))
    with pytest.raises(CallFailed) as failure:
        await called(url.removesuffix("/") + f":{inside.port}/", policy)
    assert failure.value.forbidden and inside.heard == []


async def test_the_environments_proxy_sees_no_call(
    servers: tuple[Listener, Listener], monkeypatch: pytest.MonkeyPatch
) -> None:
    allowed, proxy = servers
    for name in ("HTTP_PROXY", "http_proxy", "ALL_PROXY", "HTTPS_PROXY"):
        monkeypatch.setenv(name, f"http://{proxy.address}")
    await called(f"http://{allowed.address}/", TargetPolicy(allowed=frozenset({allowed.address})))
    assert len(allowed.heard) == 1 and proxy.heard == []
