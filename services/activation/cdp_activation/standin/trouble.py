"""Trouble that the stand-in was told to make -> what happens to the next calls of a platform."""

import asyncio
from dataclasses import dataclass, field
from typing import Any, Literal

from fastapi.responses import HTMLResponse, JSONResponse, Response
from pydantic import Field

from cdp_runtime.envelope import Wire

Target = Literal["facebook", "webhook"]
Mode = Literal["throttle", "error", "hang", "html", "reject_rows", "revoke", "flag"]


class Trouble(Wire):
    """``times`` calls (all of them when it is left out) of ``target`` fare as ``mode`` says.

    throttle: 429, or Meta's 400 with code 80003; error: ``status``; hang: ``seconds`` before the answer; html: 200 with
    a page; reject_rows: rows holding one of ``values`` are refused; revoke: the token is dead; flag: the audience is
    blocked. ``path`` limits it to paths holding that text.
    """

    target: Target
    mode: Mode
    times: int | None = Field(None, ge=1)
    retry_after: int = Field(5, ge=0)
    status: int = Field(500, ge=400, le=599)
    seconds: float = Field(30.0, ge=0, le=600)
    values: list[str] = Field(default_factory=list)
    path: str = ""


@dataclass
class Troubles:
    """What was asked for, in order; the first that applies happens."""

    asked: list[Trouble] = field(default_factory=list)

    def rejected_values(self, target: Target) -> set[str]:
        return {value for t in self.asked if t.target == target and t.mode == "reject_rows" for value in t.values}

    async def strike(self, target: Target, path: str) -> Response | None:
        """The answer of a call that is in trouble; None for one that is not (or only had to wait)."""
        for trouble in self.asked:
            if trouble.target == target and trouble.mode != "reject_rows" and trouble.path in path:
                self._count_down(trouble)
                return await _answer(trouble)
        return None

    def _count_down(self, trouble: Trouble) -> None:
        if trouble.times is not None:
            trouble.times -= 1
            if trouble.times <= 0:
                self.asked.remove(trouble)


async def _answer(trouble: Trouble) -> Response | None:
    match trouble.mode:
        case "hang":
            await asyncio.sleep(trouble.seconds)
            return None
        case "html":
            return HTMLResponse("<!doctype html><title>Log in</title><form>Please log in</form>")
        case "throttle" if trouble.target == "facebook":
            body = meta_error("(#80003) There have been too many calls to this ad-account", 80003, 2446079)
            return JSONResponse(body, 400, {"Retry-After": str(trouble.retry_after)})
        case "throttle":
            return JSONResponse({"error": "slow down"}, 429, {"Retry-After": str(trouble.retry_after)})
        case "revoke" if trouble.target == "facebook":
            body = meta_error(
                "Error validating access token: the session has been invalidated", 190, 460, "OAuthException"
            )
            return JSONResponse(body, 401)
        case "revoke":
            return JSONResponse({"error": "unknown caller"}, 401)
        case "flag":
            return JSONResponse(meta_error("This audience is flagged", 100, 1713230), 400)
    if trouble.target == "facebook":
        return JSONResponse(
            meta_error("An unknown error occurred", 1 if trouble.status >= 500 else 100), trouble.status
        )
    return JSONResponse({"error": "as told"}, trouble.status)


def meta_error(
    message: str, code: int, subcode: int | None = None, kind: str = "FacebookApiException"
) -> dict[str, Any]:
    """An error body of Meta's."""
    error: dict[str, Any] = {"message": message, "type": kind, "code": code, "fbtrace_id": "standin"}
    if subcode is not None:
        error["error_subcode"] = subcode
    return {"error": error}
