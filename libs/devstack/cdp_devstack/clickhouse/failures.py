"""The engine's complaints: a chDB error text in, ClickHouse's code, HTTP status and message out."""

from __future__ import annotations

import re

# ClickHouse's own mapping of exception codes to HTTP statuses; everything else is 500.
BAD_REQUEST = {6, 15, 25, 26, 27, 36, 38, 41, 44, 53, 56, 62, 72, 116, 117, 168, 376, 427, 441, 675, 676}
BAD_REQUEST |= {8, 16, 69, 167, 321}
NOT_FOUND = {46, 47, 50, 60, 63, 73, 81, 115, 130, 173, 336, 511, 78}
STATUS = {194: 401, 192: 403, 193: 403, 516: 403, 497: 403, 512: 403, 223: 413, 48: 501, 209: 503, 76: 503}
STATUS |= {381: 411, 159: 408, 439: 503, 732: 415}
STATUS |= dict.fromkeys(BAD_REQUEST, 400) | dict.fromkeys(NOT_FOUND, 404)

SYNTAX_ERROR = (62, "SYNTAX_ERROR")
NOT_IMPLEMENTED = (48, "NOT_IMPLEMENTED")
UNKNOWN_FORMAT = (73, "UNKNOWN_FORMAT")
UNKNOWN_SETTING = (115, "UNKNOWN_SETTING")
AUTHENTICATION_FAILED = (516, "AUTHENTICATION_FAILED")
SESSION_IS_LOCKED = (373, "SESSION_IS_LOCKED")
INCORRECT_DATA = (117, "INCORRECT_DATA")
POCO_EXCEPTION = (1000, "POCO_EXCEPTION")
UNKNOWN_EXCEPTION = (1002, "UNKNOWN_EXCEPTION")

_PREFIX = re.compile(r"Code: (\d+)\. DB::Exception: ")
_TRAILERS = re.compile(r"(?:\.? ?\((?:version [^)]*|[A-Z][A-Z0-9_]+)\))+\.?\s*$")
_NAME = re.compile(r"\(([A-Z][A-Z0-9_]{3,})\)")


class ClickHouseError(Exception):
    """One failed query, as ClickHouse would report it."""

    def __init__(self, kind: tuple[int, str], message: str) -> None:
        super().__init__(message)
        self.code, self.name = kind
        self.message = message

    @classmethod
    def from_engine(cls, text: str) -> ClickHouseError:
        """Read code, name and message out of the engine's (sometimes nested) text."""
        found = _PREFIX.search(text)
        if not found:
            return cls(UNKNOWN_EXCEPTION, text.strip())
        trailer = _TRAILERS.search(text)
        names = _NAME.findall(trailer.group(0)) if trailer else []
        message = _PREFIX.sub("", _TRAILERS.sub("", text)).strip().rstrip(".")
        return cls((int(found.group(1)), names[-1] if names else "UNKNOWN_EXCEPTION"), message)

    @property
    def status(self) -> int:
        """The HTTP status ClickHouse answers with."""
        return STATUS.get(self.code, 500)

    def body(self, version: str) -> str:
        """The text ClickHouse answers with."""
        if self.code == POCO_EXCEPTION[0]:  # of the library that reads the request
            return f"Poco::Exception. Code: {self.code}, e.code() = 0, {self.message} (version {version})\n"
        end = "" if self.message.endswith((".", "!", "?")) else "."
        return f"Code: {self.code}. DB::Exception: {self.message}{end} ({self.name}) (version {version})\n"
