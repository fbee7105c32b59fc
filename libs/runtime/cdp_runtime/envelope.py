"""Answers and errors of the HTTP API in one shape."""

from collections.abc import Mapping, Sequence
from typing import Any, Final, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict
from pydantic.alias_generators import to_camel

T = TypeVar("T")


class Wire(BaseModel):
    """A body on the wire: camelCase outside, snake_case inside, unknown fields refused."""

    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True, extra="forbid")


class Answer(BaseModel, Generic[T]):
    """``{"success": true, "data": ...}``"""

    success: Literal[True] = True
    data: T


class Detail(BaseModel):
    """One fault of a request: where, and what to do about it."""

    path: str
    message: str


class Fault(BaseModel):
    code: str
    message: str
    details: list[Detail] = []


class ErrorAnswer(BaseModel):
    """``{"success": false, "error": {...}, "code", "message"}``; the last two for clients that read the top level."""

    success: Literal[False] = False
    error: Fault
    code: str
    message: str


# what routes may answer besides success. The front door's document says that each is an ErrorAnswer: as the model of
# hundreds of answers it would be looked through as often whenever the door starts
ERRORS: Final[dict[int | str, dict[str, Any]]] = {status: {} for status in (401, 403, 404, 409, 422, 503)}


class ApiError(Exception):
    """An answer other than success. 400 malformed, 401, 403, 404, 409, 422 invalid, 429, 503 with the dependency."""

    def __init__(
        self,
        status: int,
        code: str,
        message: str,
        details: Sequence[Detail] = (),
        headers: Mapping[str, str] | None = None,
    ) -> None:
        super().__init__(message)
        self.status, self.code, self.message = status, code, message
        self.details, self.headers = list(details), dict(headers or {})

    def body(self) -> dict[str, Any]:
        return error_body(self.code, self.message, self.details)


def not_found(what: str, ref: str) -> ApiError:
    return ApiError(404, "not_found", f"There is no {what} {ref!r} in this workspace.")


def unavailable(dependency: str, reason: str, retry_after: int = 2) -> ApiError:
    """503: a dependency is down; the client may try again."""
    return ApiError(503, f"{dependency}_unavailable", reason, headers={"Retry-After": str(retry_after)})


def error_body(code: str, message: str, details: Sequence[Detail] = ()) -> dict[str, Any]:
    return ErrorAnswer(
        error=Fault(code=code, message=message, details=list(details)), code=code, message=message
    ).model_dump()
