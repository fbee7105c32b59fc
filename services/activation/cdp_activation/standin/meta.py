"""Meta's Graph API as far as audiences go: their users and sessions, checked as strictly as the platform does."""

import json
import re
from collections.abc import Mapping
from typing import Any, Final

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response

from cdp_activation.standin.state import State
from cdp_activation.standin.trouble import Troubles, meta_error

KEYS: Final = frozenset(
    "EXTERN_ID EMAIL PHONE GEN DOBY DOBM DOBD LN FN FI CT ST ZIP MADID COUNTRY LOOKALIKE_VALUE".split()
)
UNHASHED: Final = frozenset({"EXTERN_ID", "MADID", "LOOKALIKE_VALUE"})
MAX_ROWS: Final = 10_000
_HASH: Final = re.compile(r"[0-9a-f]{64}\Z")


class MetaError(Exception):
    """An answer in Meta's words."""

    def __init__(self, status: int, message: str, code: int, subcode: int | None = None) -> None:
        super().__init__(message)
        self.status, self.body = status, meta_error(f"(#{code}) {message}", code, subcode)


def router(state: State, troubles: Troubles, tokens: frozenset[str]) -> APIRouter:
    """Routes under ``/v<version>/``."""
    routes = APIRouter()

    async def handled(request: Request, version: str, path: str) -> Response:
        raw = await request.body()
        rows = 0
        try:
            _authorise(request, tokens)
            struck = await troubles.strike("facebook", request.url.path)
            if struck is not None:
                state.note("facebook", (request.method, request.url.path), 0, struck.status_code, "as told")
                return struck
            answer, rows = _route(state, troubles, request, path.split("/"), _body(raw))
            state.note("facebook", (request.method, request.url.path), rows, 200, "")
            return JSONResponse(answer)
        except MetaError as error:
            state.note("facebook", (request.method, request.url.path), rows, error.status, str(error))
            return JSONResponse(error.body, error.status)

    routes.add_api_route("/v{version}/{path:path}", handled, methods=["GET", "POST", "DELETE"], include_in_schema=False)
    return routes


def _authorise(request: Request, tokens: frozenset[str]) -> None:
    given = request.headers.get("authorization", "").removeprefix("Bearer ") or request.query_params.get("access_token")
    if given not in tokens:
        raise MetaError(401, "Invalid OAuth access token", 190)


def _body(raw: bytes) -> dict[str, Any]:
    if not raw:
        return {}
    try:
        body = json.loads(raw)
    except ValueError:
        raise MetaError(400, "The body is not JSON", 100) from None
    if not isinstance(body, dict):
        raise MetaError(400, "The body must be an object", 100)
    return body


def _route(
    state: State, troubles: Troubles, request: Request, steps: list[str], body: dict[str, Any]
) -> tuple[dict[str, Any], int]:
    match request.method, steps:
        case "GET", ["me"]:
            return {"id": "1", "name": "Stand-in system user"}, 0
        case "GET", [account] if account.startswith("act_"):
            return {"id": account, "name": "Stand-in ad account"}, 0
        case "POST", [account, "customaudiences"] if account.startswith("act_"):
            return _create(state, account, body), 0
        case "GET", [audience]:
            return _described(state, audience), 0
        case "GET", [audience, "sessions"]:
            return _session(state, audience, request.query_params.get("session_id", "")), 0
        case "POST", [audience, "users"]:
            return _users(state, troubles, audience, body, "add")
        case "DELETE", [audience, "users"]:
            return _users(state, troubles, audience, body, "remove")
        case "POST", [audience, "usersreplace"]:
            return _users(state, troubles, audience, body, "replace")
    raise MetaError(404, f"Unsupported {request.method.lower()} request", 100, 33)


def _create(state: State, account: str, body: Mapping[str, Any]) -> dict[str, Any]:
    if body.get("subtype") != "CUSTOM" or not body.get("name"):
        raise MetaError(400, "name and subtype=CUSTOM are required", 100)
    return {"id": state.create_audience(account, str(body["name"]), str(body.get("description", "")))}


def _described(state: State, audience: str) -> dict[str, Any]:
    found = _existing(state, audience)
    count = len(state.members(audience))
    return {
        "id": audience,
        "name": found["name"],
        "approximate_count_lower_bound": count,
        "approximate_count_upper_bound": count,
        "operation_status": {"code": 200, "description": "Normal"},
    }


def _session(state: State, audience: str, session: str) -> dict[str, Any]:
    found = state.session(audience, session)
    if found is None:
        raise MetaError(400, "No such session", 100)
    return {
        "data": [
            {
                "session_id": session,
                "start_time": int(found["started"]),
                "end_time": int(found["ended"] or 0),
                "num_received": found["received"],
                "num_matched": found["received"] if found["stage"] == "done" else -1,
                "num_invalid_entries": found["invalid"],
                "stage": found["stage"],
            }
        ]
    }


def _existing(state: State, audience: str) -> dict[str, Any]:
    found = state.audience(audience)
    if found is None:
        raise MetaError(400, f"Object with ID '{audience}' does not exist or you lack permission", 100, 33)
    return found


def _users(
    state: State, troubles: Troubles, audience: str, body: Mapping[str, Any], operation: str
) -> tuple[dict[str, Any], int]:
    _existing(state, audience)
    session = body.get("session")
    replacing = state.open_session(audience)
    if (
        replacing is not None
        and (not session or str(session.get("session_id")) != replacing)
        and operation != "replace"
    ):
        raise MetaError(400, "Another replace operation is running for this audience", 2650)
    rows = _rows(body.get("payload"))
    refused = _refused(rows, troubles.rejected_values("facebook"))
    good = [row for n, row in enumerate(rows) if n not in refused]
    if operation == "add":
        state.add(audience, good)
    elif operation == "remove":
        state.remove(audience, good)
    else:
        _replace(state, audience, session, good)
    return {
        "audience_id": audience,
        "session_id": str(session["session_id"]) if session else "0",
        "num_received": len(rows),
        "num_invalid_entries": len(refused),
        "invalid_entry_samples": dict.fromkeys(refused.values(), "told to refuse it"),
    }, len(rows)


def _replace(state: State, audience: str, session: Any, rows: list[dict[str, str]]) -> None:
    if not isinstance(session, dict) or not isinstance(session.get("session_id"), int) or "batch_seq" not in session:
        raise MetaError(400, "usersreplace needs session.session_id, batch_seq and last_batch_flag", 100)
    state.in_session(audience, str(session["session_id"]), rows, last=session.get("last_batch_flag") is True)


def _rows(payload: Any) -> list[dict[str, str]]:
    if not isinstance(payload, dict) or not isinstance(payload.get("schema"), list):
        raise MetaError(400, "payload.schema must be a list of keys", 100)
    schema, data = payload["schema"], payload.get("data")
    unknown = [key for key in schema if key not in KEYS]
    if unknown or not schema:
        raise MetaError(400, f"Invalid key in payload.schema: {', '.join(map(str, unknown))}", 100)
    if not isinstance(data, list) or not 1 <= len(data) <= MAX_ROWS:
        raise MetaError(400, f"payload.data must hold 1 to {MAX_ROWS} rows", 100)
    for number, row in enumerate(data):
        _check_row(number, row, schema)
    return [dict(zip(schema, row, strict=True)) for row in data]


def _check_row(number: int, row: Any, schema: list[str]) -> None:
    if not isinstance(row, list) or len(row) != len(schema):
        raise MetaError(400, f"payload.data[{number}] must have {len(schema)} values", 100)
    for key, value in zip(schema, row, strict=True):
        if not isinstance(value, str) or (value and key not in UNHASHED and not _HASH.match(value)):
            raise MetaError(400, f"payload.data[{number}]: {key} must be a SHA-256 in lower-case hex", 100)


def _refused(rows: list[dict[str, str]], values: set[str]) -> dict[int, str]:
    return {n: value for n, row in enumerate(rows) for value in row.values() if value and value in values}
