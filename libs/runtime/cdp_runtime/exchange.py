"""The bytes of a request's head -> its path, query and headers, read once however often they come; its answer."""

from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import unquote

from httptools import HttpParserError, HttpParserInvalidURLError, HttpParserUpgrade, HttpRequestParser, parse_url

LONGEST: Final = 4096  # bytes; longer heads are rare, and remembering them would be dear
_UNUSUAL: Final = frozenset({b"transfer-encoding", b"expect", b"upgrade"})


class Head(NamedTuple):
    """A POST over HTTP/1.1 whose body has ``length`` bytes and whose connection stays open.

    Header names are in lower case; of several with one name the last stands.
    """

    path: str
    query: bytes
    headers: Mapping[bytes, bytes]
    length: int


class Answer(NamedTuple):
    """One HTTP answer; its headers tell the length of its body."""

    status: int
    headers: Sequence[tuple[bytes, bytes]]
    body: bytes


class _Reader:
    """What httptools tells while it reads."""

    def __init__(self) -> None:
        self.url = b""
        self.headers: dict[bytes, bytes] = {}
        self.heads = 0

    def on_url(self, url: bytes) -> None:
        self.url += url

    def on_header(self, name: bytes, value: bytes) -> None:
        self.headers[name.lower()] = value

    def on_headers_complete(self) -> None:
        self.heads += 1


@lru_cache(maxsize=2048)
def read_head(raw: bytes) -> Head | None:
    """The head, blank line included. None for one that is not of the usual kind, or is wrong: a server is to judge it.

    A client repeats its head on a connection, byte for byte but for the length, and clients of one kind share theirs.
    """
    reader = _Reader()
    parser = HttpRequestParser(reader)
    try:
        parser.feed_data(raw)
        if reader.heads != 1 or parser.get_method() != b"POST" or parser.get_http_version() != "1.1":
            return None
        if not parser.should_keep_alive():
            return None
        url = parse_url(reader.url)
    except (HttpParserError, HttpParserUpgrade, HttpParserInvalidURLError):
        return None
    length = reader.headers.get(b"content-length", b"")
    if not url.path or not length.isdigit() or not int(length) or not _UNUSUAL.isdisjoint(reader.headers):
        return None
    return Head(unquote(url.path.decode("ascii")), url.query or b"", reader.headers, int(length))
