"""FastAPI's OpenAPI document -> the same with scopes, errors and the Idempotency-Key on every operation."""

from typing import Any, Final

from fastapi import FastAPI

from cdp_analytics_api.door.operations import Operation, Operations
from cdp_runtime.envelope import ErrorAnswer

_ERRORS: Final = {
    "400": "The body is not valid JSON.",
    "401": "The API token is missing, unknown or revoked.",
    "403": "The API token lacks the scope.",
    "404": "No such thing in this workspace.",
    "409": "It conflicts with what is there.",
    "413": "The body is too large.",
    "415": "The body does not say that it is JSON: `Content-Type: application/json`.",
    "422": "The request is invalid; `details` name each field.",
    "429": "Too many requests; `Retry-After` says when to come back.",
    "503": "A dependency is down; `code` names it, `Retry-After` says when to come back.",
}
_OF_A_BODY: Final = {"400", "409", "413", "415"}
_KEY: Final = {
    "name": "Idempotency-Key",
    "in": "header",
    "required": False,
    "schema": {"type": "string", "maxLength": 200},
    "description": "Repeats with the same key within 24 hours get the first answer and change nothing.",
}


def install(app: FastAPI, operations: Operations) -> None:
    """The document is made at the first request for it, from all mounted routes."""
    plain = app.openapi

    def document() -> dict[str, Any]:
        if app.openapi_schema is None:
            app.openapi_schema = completed(plain(), operations)
        return app.openapi_schema

    app.openapi = document  # type: ignore[method-assign]


def completed(document: dict[str, Any], operations: Operations) -> dict[str, Any]:
    """The document with what every operation has in common written on each."""
    found = {(operation.path, method): operation for operation in operations.all() for method in operation.methods}
    schemas = document.setdefault("components", {}).setdefault("schemas", {})
    schemas.update(_error_schemas())
    schemas.pop("HTTPValidationError", None)
    schemas.pop("ValidationError", None)
    for path, item in document["paths"].items():
        for method, entry in item.items():
            operation = found.get((path, method.upper()))
            if operation is not None:
                _complete(entry, method, operation)
    return document


def _complete(entry: dict[str, Any], method: str, operation: Operation) -> None:
    responses = entry.setdefault("responses", {})
    for status, meaning in _ERRORS.items():
        if status in responses or _applies(status, method, operation):
            content = {"application/json": {"schema": {"$ref": "#/components/schemas/ErrorAnswer"}}}
            responses[status] = {"description": meaning, **responses.get(status, {}), "content": content}
    if operation.scope:
        entry["x-required-scope"] = operation.scope
        told = entry.get("description", "")
        entry["description"] = f"{told}\n\nRequired scope: `{operation.scope}`.".strip()
    if method == "post" and not operation.is_read:
        entry.setdefault("parameters", []).append(_KEY)


def _applies(status: str, method: str, operation: Operation) -> bool:
    if status in ("401", "403"):
        return bool(operation.scope)
    if status == "404":
        return "{" in operation.path
    return not (status in _OF_A_BODY and method in ("get", "delete"))


def _error_schemas() -> dict[str, Any]:
    schema = ErrorAnswer.model_json_schema(ref_template="#/components/schemas/{model}")
    inner = schema.pop("$defs", {})
    schema["examples"] = [
        {
            "success": False,
            "error": {
                "code": "invalid",
                "message": "The request is invalid. steps: too short",
                "details": [{"path": "steps", "message": "list should have at least 2 items"}],
            },
            "code": "invalid",
            "message": "The request is invalid. steps: too short",
        }
    ]
    return {"ErrorAnswer": schema, **inner}
