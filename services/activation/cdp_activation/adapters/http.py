"""HTTP to addresses that workspaces entered: connected to the very IP that was checked, bounded in time and size."""

import asyncio
import ssl
from collections.abc import AsyncIterator, Iterable
from typing import Any, Final

import httpcore
import httpx

from cdp_activation.destinations.destination import HttpRequest, HttpResponse
from cdp_activation.ports import CallFailed
from cdp_activation.ssrf import ForbiddenTarget, Resolve, TargetPolicy, check_url, resolve_checked, system_resolve

_LONGEST_ANSWER: Final = 1024 * 1024
_CONNECT_SECONDS: Final = 5.0
# failures before the request left: it cannot have arrived
_BEFORE: Final = (
    *(httpcore.ConnectError, httpcore.ConnectTimeout, httpcore.PoolTimeout, httpcore.UnsupportedProtocol),
    *(httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout, httpx.UnsupportedProtocol),
)
_UNWRITABLE: Final = (httpcore.LocalProtocolError, httpx.LocalProtocolError, UnicodeError)


class HttpCalls:
    """Implements the port Calls. No redirects, no proxy of the environment, no cookies."""

    def __init__(self, policy: TargetPolicy, resolve: Resolve = system_resolve) -> None:
        self._policy = policy
        self._client = httpx.AsyncClient(
            transport=_CheckedTransport(policy, resolve), follow_redirects=False, trust_env=False
        )

    async def stop(self) -> None:
        await self._client.aclose()

    async def send(self, request: HttpRequest) -> HttpResponse:
        try:
            check_url(request.url, self._policy)
            # one deadline for all of it: a body that drips must not hold the worker
            async with asyncio.timeout(request.timeout_seconds + _CONNECT_SECONDS):
                return await self._exchange(request)
        except ForbiddenTarget as error:
            raise CallFailed(str(error), sent=False, forbidden=True) from error
        except _UNWRITABLE:
            # the error quotes what could not be written, such as a header with a token: it must not be told on
            reason = "the request cannot be written: its address or a credential holds what HTTP does not allow"
            raise CallFailed(reason, sent=False, forbidden=True) from None
        except _BEFORE as error:
            raise CallFailed(f"no connection: {_said(error)}", sent=False) from error
        except (httpx.HTTPError, httpcore.NetworkError, httpcore.ProtocolError, httpcore.TimeoutException) as error:
            raise CallFailed(f"no answer: {_said(error)}", sent=True) from error
        except TimeoutError as error:
            raise CallFailed(f"no answer within {request.timeout_seconds:.0f} s", sent=True) from error

    async def _exchange(self, request: HttpRequest) -> HttpResponse:
        outgoing = self._client.build_request(
            request.method,
            request.url,
            # an answer that unpacks to gigabytes is not unpacked at all
            headers={**request.headers, "accept-encoding": "identity"},
            content=request.body,
            timeout=httpx.Timeout(request.timeout_seconds, connect=_CONNECT_SECONDS),
        )
        answer = await self._client.send(outgoing, stream=True)
        try:
            body = bytearray()
            async for chunk in answer.aiter_raw():
                body += chunk[: _LONGEST_ANSWER - len(body)]
                if len(body) >= _LONGEST_ANSWER:
                    break
        finally:
            await answer.aclose()
        return HttpResponse(answer.status_code, {k.lower(): v for k, v in answer.headers.items()}, bytes(body))


class _CheckedNetwork(httpcore.AnyIOBackend):
    """Looks the name up, checks every address, and connects to the checked one; TLS still verifies the name."""

    def __init__(self, policy: TargetPolicy, resolve: Resolve) -> None:
        super().__init__()
        self._policy, self._resolve = policy, resolve

    async def connect_tcp(
        self,
        host: str,
        port: int,
        timeout: float | None = None,
        local_address: str | None = None,
        socket_options: Iterable[Any] | None = None,
    ) -> httpcore.AsyncNetworkStream:
        try:
            address = await resolve_checked(host, port, self._policy, self._resolve)
        except OSError as error:
            raise httpcore.ConnectError(f"{host} is unknown: {error.strerror or error}") from error
        return await super().connect_tcp(address, port, timeout, local_address, socket_options)

    async def connect_unix_socket(self, *_: Any, **__: Any) -> httpcore.AsyncNetworkStream:
        raise ForbiddenTarget("local sockets are not called")


class _CheckedTransport(httpx.AsyncBaseTransport):
    """httpx over a pool whose connections are checked."""

    def __init__(self, policy: TargetPolicy, resolve: Resolve) -> None:
        self._pool = httpcore.AsyncConnectionPool(
            ssl_context=ssl.create_default_context(),
            max_connections=100,
            max_keepalive_connections=20,
            keepalive_expiry=30.0,
            network_backend=_CheckedNetwork(policy, resolve),
        )

    async def handle_async_request(self, request: httpx.Request) -> httpx.Response:
        url = request.url
        answer = await self._pool.handle_async_request(
            httpcore.Request(
                request.method,
                httpcore.URL(scheme=url.raw_scheme, host=url.raw_host, port=url.port, target=url.raw_path),
                headers=request.headers.raw,
                content=request.stream,
                extensions=request.extensions,
            )
        )
        return httpx.Response(answer.status, headers=answer.headers, stream=_Body(answer))

    async def aclose(self) -> None:
        await self._pool.aclose()


class _Body(httpx.AsyncByteStream):
    def __init__(self, answer: httpcore.Response) -> None:
        self._answer = answer

    async def __aiter__(self) -> AsyncIterator[bytes]:
        async for part in self._answer.aiter_stream():
            yield part

    async def aclose(self) -> None:
        await self._answer.aclose()


def _said(error: BaseException) -> str:
    return str(error) or type(error).__name__
