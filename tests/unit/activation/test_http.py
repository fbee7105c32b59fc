"""What is said of a call that could not be written never repeats what it held."""

import asyncio

import pytest

from cdp_activation.adapters.http import HttpCalls
from cdp_activation.destinations.destination import HttpRequest
from cdp_activation.ports import CallFailed
from cdp_activation.ssrf import TargetPolicy


@pytest.mark.parametrize("token", ["EAAB ", "EAAB\u00a0", "EAAB\u200b1", "EAAB\u00fc", "EAAB\n1"])
async def test_a_header_that_cannot_be_written_is_not_quoted(token: str) -> None:
    arrived: list[bytes] = []

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        arrived.append(await reader.read(1))
        writer.close()

    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    host = f"127.0.0.1:{server.sockets[0].getsockname()[1]}"
    calls = HttpCalls(TargetPolicy(allowed=frozenset({host})))
    request = HttpRequest("GET", f"http://{host}/", {"authorization": f"Bearer {token}"}, timeout_seconds=2.0)
    with pytest.raises(CallFailed, match="the request cannot be written") as failure:
        await calls.send(request)
    await calls.stop()
    server.close()
    await server.wait_closed()
    assert "EAAB" not in str(failure.value) and failure.value.__cause__ is None
    assert failure.value.forbidden and not failure.value.sent and not any(arrived)
