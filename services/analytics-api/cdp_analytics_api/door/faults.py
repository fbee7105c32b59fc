"""Whatever a handler raises -> the envelope: who must act, where, and when to try again."""

from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from fastapi import FastAPI
from fastapi.exceptions import RequestValidationError, WebSocketRequestValidationError
from fastapi.responses import JSONResponse
from psycopg_pool import PoolTimeout
from redis.exceptions import RedisError
from starlette.exceptions import HTTPException
from starlette.requests import HTTPConnection
from starlette.responses import Response

from cdp_analytics_api.cursors import BadCursor
from cdp_analytics_api.periods import BadPeriod
from cdp_clickhouse.errors import StoreRefused, StoreUnavailable
from cdp_eventlog.log import LogUnavailable
from cdp_runtime.envelope import ApiError, Detail, unavailable
from cdp_runtime.logs import get_logger
from cdp_runtime.postgres import retryable, silence

_log = get_logger(__name__)
_CODES: Final = {
    400: "malformed",
    401: "unauthorized",
    403: "forbidden",
    404: "not_found",
    405: "method_not_allowed",
    406: "not_acceptable",
    409: "conflict",
    413: "too_large",
    415: "unsupported_media_type",
    422: "invalid",
    429: "rate_limited",
}
# ClickHouse's codes for a question that would take too long, read or return too much, or is itself too deep or too big
_TOO_HEAVY: Final = {158, 159, 160, 167, 168, 241, 307, 396}
_SYNTAX: Final = 62  # of a text too long as of one that is wrong
# a body of a hundred thousand unknown fields gets no answer of that length
_MOST_DETAILS: Final = 100
_ROOTS: Final = ("body", "query", "path", "header", "cookie")
# pydantic speaks of dictionaries and attributes, of which JSON has none
_NO_OBJECT: Final = frozenset({"model_type", "model_attributes_type", "dict_type"})


_DEPENDENCIES: Final = (
    StoreUnavailable,
    StoreRefused,
    LogUnavailable,
    psycopg.Error,
    PoolTimeout,
    RedisError,
)


def install(app: FastAPI) -> None:
    """From now on every error of the application has the envelope."""
    app.add_exception_handler(ApiError, _answered)
    app.add_exception_handler(BadPeriod, _bad_period)
    app.add_exception_handler(BadCursor, _bad_cursor)
    app.add_exception_handler(RequestValidationError, _invalid)
    app.add_exception_handler(WebSocketRequestValidationError, _invalid)
    app.add_exception_handler(HTTPException, _http)
    for error_class in _DEPENDENCIES:
        app.add_exception_handler(error_class, _dependency)


def answer(error: ApiError) -> JSONResponse:
    """To a request, also to the opening one of a WebSocket; Starlette sends what a handler returns to both."""
    return JSONResponse(error.body(), error.status, error.headers)


def dependency_error(error: Exception) -> ApiError | None:
    """The 503 (or 422 of a question too heavy) that an outside part's error means; None when it is a bug of ours."""
    match error:
        case StoreUnavailable():
            return unavailable("clickhouse", f"ClickHouse does not answer: {error.message}")
        case StoreRefused() if error.code in _TOO_HEAVY or _is_too_long(error):
            return ApiError(422, "too_heavy", f"This question is too heavy, ask for less: {error.message}")
        case LogUnavailable():
            return unavailable("kafka", f"Kafka does not take or give messages now: {error}")
        case RedisError():
            return unavailable("redis", f"Redis does not answer: {error}")
    if retryable(error):
        return unavailable("postgres", silence(error))
    return None


def _is_too_long(error: StoreRefused) -> bool:
    return error.code == _SYNTAX and "Max query size exceeded" in error.message


async def _answered(connection: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, ApiError)
    return answer(error)


async def _bad_period(connection: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, BadPeriod)
    return answer(invalid(error.path, error.message))


async def _bad_cursor(connection: HTTPConnection, error: Exception) -> Response:
    return answer(invalid("cursor", str(error)))


async def _dependency(connection: HTTPConnection, error: Exception) -> Response:
    meant = dependency_error(error)
    if meant is None:
        raise error
    _log.warning("dependency_unavailable", code=meant.code, reason=meant.message, path=connection.url.path)
    return answer(meant)


async def _http(connection: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    method, message = connection.scope.get("method", "WebSocket"), str(error.detail)
    if error.status_code == 404 and message == "Not Found":
        message = f"There is no {method} {connection.url.path}; see /docs for all operations."
    if error.status_code == 405:
        message = f"{connection.url.path} does not take {method}."
    code = _CODES.get(error.status_code, "error")
    return answer(ApiError(error.status_code, code, message, headers=error.headers))


async def _invalid(connection: HTTPConnection, error: Exception) -> Response:
    assert isinstance(error, RequestValidationError | WebSocketRequestValidationError)
    return answer(validation_error(error.errors()))


def invalid(path: str, message: str) -> ApiError:
    """422 with one detail."""
    return ApiError(422, "invalid", f"The request is invalid. {path}: {message}", [Detail(path=path, message=message)])


def validation_error(faults: Sequence[Any]) -> ApiError:
    """Pydantic's faults -> 400 for what is no JSON, 415 for what does not say it is, else 422 with each path."""
    malformed = next((fault for fault in faults if fault["type"] == "json_invalid"), None)
    if malformed is not None:
        where = malformed["loc"][-1] if malformed["loc"] else 0
        reason = malformed.get("ctx", {}).get("error", "it cannot be read")
        detail = Detail(path="body", message=f"at character {where}: {reason}")
        return ApiError(400, "malformed", "The body is not valid JSON.", [detail])
    if any(tuple(fault["loc"]) == ("body",) and isinstance(fault.get("input"), bytes) for fault in faults):
        return ApiError(415, "unsupported_media_type", "Send the body as JSON, with Content-Type: application/json.")
    details = [Detail(path=_path(fault["loc"]), message=_message(fault)) for fault in faults[:_MOST_DETAILS]]
    summary = "; ".join(f"{detail.path}: {detail.message}" for detail in details[:3])
    return ApiError(422, "invalid", f"The request is invalid. {summary}", details)


def _path(loc: Sequence[Any]) -> str:
    """``("body", "steps", 0, "event")`` is ``steps[0].event``; without a field it is the part itself."""
    parts = list(loc[1:]) if loc and loc[0] in _ROOTS else list(loc)
    text = ""
    for part in parts:
        text += f"[{part}]" if isinstance(part, int) else f".{part}" if text else str(part)
    return text or (str(loc[0]) if loc else "body")


def _message(fault: Mapping[str, Any]) -> str:
    if fault["type"] in _NO_OBJECT:
        return "input should be an object"
    message = str(fault["msg"]).removeprefix("Value error, ")
    return message[:1].lower() + message[1:]
