"""Cursors of lists <-> places in them, and the query parameters that every list takes."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime
from typing import Annotated, Any
from uuid import UUID

from fastapi import Query

from cdp_activation.catalog import Page
from cdp_runtime.envelope import ApiError, Detail

Limit = Annotated[int, Query(ge=1, le=1000, description="rows of a page")]
Cursor = Annotated[str | None, Query(description="nextCursor of the page before", max_length=500)]
Offset = Annotated[int, Query(ge=0, le=100_000, description="rows to skip, for small lists")]


def page_of(limit: Limit = 50, cursor: Cursor = None, offset: Offset = 0) -> Page:
    """A dependency. Raises ApiError 422 for a cursor that is not ours."""
    if cursor is None:
        return Page(limit, None, offset)
    at, name = decoded(cursor, 2)
    try:
        begins = datetime.fromisoformat(at)
    except ValueError:
        raise bad_cursor() from None
    if begins.tzinfo is None:
        raise bad_cursor()
    return Page(limit, (begins, name))


def encoded(*parts: object) -> str:
    """The cursor of a place."""
    return base64.urlsafe_b64encode(json.dumps([str(part) for part in parts]).encode()).decode().rstrip("=")


def decoded(cursor: str, length: int) -> list[str]:
    """Raises ApiError 422."""
    try:
        parts = json.loads(base64.urlsafe_b64decode(cursor + "=" * (-len(cursor) % 4)))
    except (binascii.Error, ValueError, RecursionError):
        raise bad_cursor() from None
    if not isinstance(parts, list) or len(parts) != length or not all(map(_is_ours, parts)):
        raise bad_cursor()
    return parts


def _is_ours(part: object) -> bool:
    """Times and ids: no store is asked for characters that it cannot hold."""
    return isinstance(part, str) and part.isascii() and part.isprintable()


def delivery_place(cursor: str | None) -> tuple[str, UUID] | None:
    """The destination and profile after which a page of deliveries begins. Raises ApiError 422."""
    if cursor is None:
        return None
    destination, profile = decoded(cursor, 2)
    try:
        return destination, UUID(profile)
    except ValueError:
        raise bad_cursor() from None


def next_cursor(page: Page, shown: Sequence[Any], total: int, place: tuple[object, ...] | None) -> str | None:
    """The cursor behind the last row shown; None when the page was not full."""
    return encoded(*place) if place and len(shown) == page.limit and total > page.offset + len(shown) else None


def bad_cursor() -> ApiError:
    detail = Detail(path="cursor", message="this is no cursor of this list")
    return ApiError(422, "invalid", "The request is invalid. cursor: this is no cursor of this list", [detail])


def invalid(details: Sequence[Detail]) -> ApiError:
    """422 with every fault and its path."""
    summary = "; ".join(f"{detail.path}: {detail.message}" for detail in details[:3])
    return ApiError(422, "invalid", f"The request is invalid. {summary}", details)
