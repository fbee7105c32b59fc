"""Outcomes of calls -> status, headers and body: exactly what the SDKs expect, and CORS for the browsers among them."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from cdp_ingest.refusals import CallRefused
from cdp_runtime.envelope import Detail, error_body
from cdp_runtime.exchange import Answer
from cdp_schemas.codec import encode

Header = tuple[bytes, bytes]
SUCCESS: Final = b'{"success":true}'
_JSON: Final = (b"content-type", b"application/json")
_EXPOSED: Final = (b"access-control-expose-headers", b"Retry-After")
# a 401 has to name a way to log in. At `Basic` a browser asks whoever looks at a page for a password, where the gateway
# is on the page's own host: so it is one that no browser knows
_LOGIN: Final = (b"www-authenticate", b'WriteKey realm="events"')
# what SDKs are known to send, for a preflight that names nothing
_KNOWN_HEADERS: Final = (
    b"authorization, content-type, content-encoding, x-retry-count, anonymousid, sentat, rsa-retry-attempt, "
    b"rsa-recovered, rsa-initiated-at, x-rudder-client-version"
)


@dataclass(frozen=True, slots=True)
class Cors:
    """Any origin may send events; those of ``with_credentials`` may also send cookies."""

    with_credentials: frozenset[bytes] = frozenset()

    def headers(self, origin: bytes | None) -> list[Header]:
        """The headers of an answer to a page of this origin; none for anything but a browser."""
        if origin is None:
            return []
        if origin in self.with_credentials:
            return [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-credentials", b"true"),
                (b"vary", b"Origin"),
                _EXPOSED,
            ]
        return [(b"access-control-allow-origin", b"*"), _EXPOSED]

    def preflight(self, headers: Mapping[bytes, bytes]) -> Answer:
        """The answer to OPTIONS: the headers asked for are allowed."""
        asked = headers.get(b"access-control-request-headers") or _KNOWN_HEADERS
        return Answer(
            204,
            [
                *self.headers(headers.get(b"origin", b"*")),
                (b"access-control-allow-methods", b"POST, GET, OPTIONS"),
                (b"access-control-allow-headers", asked),
                (b"access-control-max-age", b"86400"),
                (b"content-length", b"0"),
            ],
            b"",
        )


_SUCCESS_HEADERS: Final[list[Header]] = [_JSON, (b"content-length", str(len(SUCCESS)).encode())]
_PLAIN_SUCCESS: Final = Answer(200, _SUCCESS_HEADERS, SUCCESS)


def success(cors: Sequence[Header]) -> Answer:
    """200 with ``{"success":true}`` and nothing else: some SDK resends on each other success."""
    return _PLAIN_SUCCESS if not cors else Answer(200, [*_SUCCESS_HEADERS, *cors], SUCCESS)


def refusal(error: CallRefused, cors: Sequence[Header]) -> Answer:
    """The error in JSON with success, code, message and error, which every SDK finds its own part of."""
    details = [Detail(path=error.path, message=str(error))] if error.path else []
    body = encode(error_body(error.refusal.label, str(error), details))
    headers = [_JSON, (b"content-length", str(len(body)).encode()), *cors]
    if error.retry_after is not None:
        headers.append((b"retry-after", str(error.retry_after).encode()))
    if error.refusal.status == 401:
        headers.append(_LOGIN)
    return Answer(error.refusal.status, headers, body)
