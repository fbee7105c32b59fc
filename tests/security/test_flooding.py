"""Clients that take more than their share of both doors: streams, messages and heads without end."""

import socket
from contextlib import ExitStack

import pytest
from websockets.exceptions import ConnectionClosedError, InvalidStatus
from websockets.sync.client import ClientConnection, connect

from tests.millrace import Millrace
from tests.security.tenants import Tenant

pytestmark = pytest.mark.stack
STREAMS = 50  # of one token, as the setting's default says


def stream(millrace: Millrace, token: str) -> ClientConnection:
    return connect(f"ws://127.0.0.1:{millrace.ports['API']}/api/cdp/ws/events?token={token}")


def test_a_token_has_so_many_streams_and_other_tokens_theirs(
    millrace: Millrace, tenants: tuple[Tenant, Tenant]
) -> None:
    ada, bob = tenants
    with ExitStack() as streams:
        for _ in range(STREAMS):
            streams.enter_context(stream(millrace, ada.token))
        with pytest.raises(InvalidStatus) as refused, stream(millrace, ada.token):
            pass
        assert refused.value.response.status_code == 429
        assert int(refused.value.response.headers["Retry-After"]) >= 1
        assert _opens(millrace, bob)
        assert ada.ask("GET", "/stats").is_success
    millrace.until("a stream is free again", lambda: _opens(millrace, ada), bool)


def _opens(millrace: Millrace, tenant: Tenant) -> bool:
    try:
        with stream(millrace, tenant.token):
            return True
    except InvalidStatus:
        return False


def test_a_message_that_is_too_large_ends_the_stream_and_is_not_kept(
    millrace: Millrace, tenants: tuple[Tenant, Tenant]
) -> None:
    with stream(millrace, tenants[0].token) as one:
        one.send("x" * 70_000)
        with pytest.raises(ConnectionClosedError) as closed:
            while True:
                one.recv(timeout=10)
    assert closed.value.rcvd is not None and closed.value.rcvd.code == 1009


@pytest.mark.parametrize("door", ["API", "INGEST"])
def test_a_head_without_end_is_cut(millrace: Millrace, door: str) -> None:
    with socket.create_connection(("127.0.0.1", millrace.ports[door]), timeout=10) as client:
        client.sendall(b"GET / HTTP/1.1\r\nHost: x\r\n")
        sent, answer = 0, b""
        try:
            while sent < 50_000_000:
                sent += client.send(b"X-Flood: " + b"y" * 4000 + b"\r\n")
            answer = client.recv(100)
        except ConnectionError:
            pass
    assert sent < 50_000_000 and answer[:12] in (b"", b"HTTP/1.1 431")
