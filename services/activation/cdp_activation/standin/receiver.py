"""A receiver of webhooks: verifies the signature, drops what it has seen, keeps the set of members."""

import hashlib
import json
from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request
from fastapi.responses import JSONResponse, Response
from standardwebhooks import Webhook, WebhookVerificationError

from cdp_activation.standin.state import State
from cdp_activation.standin.trouble import Troubles


def router(state: State, troubles: Troubles, secret: str) -> APIRouter:
    """One route, ``/webhook``."""
    routes = APIRouter()
    verifier = Webhook(secret)

    @routes.post("/webhook", include_in_schema=False)
    async def receive(request: Request) -> Response:
        raw = await request.body()
        answer, rows, note = await _taken(request, raw)
        state.note("webhook", ("POST", request.url.path), rows, answer.status_code, note)
        return answer

    async def _taken(request: Request, raw: bytes) -> tuple[Response, int, str]:
        try:
            verifier.verify(raw, dict(request.headers), json_parse=False)
            body = json.loads(raw)
        except (WebhookVerificationError, ValueError) as error:
            return JSONResponse({"error": f"the signature or the body is wrong: {error}"}, 401), 0, str(error)
        struck = await troubles.strike("webhook", request.url.path)
        if struck is not None:
            return struck, 0, "as told"
        message, digest = request.headers["webhook-id"], hashlib.sha256(raw).hexdigest()
        earlier = state.seen(message, digest)
        if earlier is not None:
            same = earlier == digest
            note = "seen before" if same else "seen before with another body"
            return JSONResponse({"status": note}, 200 if same else 409), 0, note
        data = body.get("data", {})
        refused = _apply(state, body, troubles.rejected_values("webhook"))
        return JSONResponse({"status": "taken", "rejected": refused}), len(data.get("members", [])), ""

    return routes


def _apply(state: State, body: Mapping[str, Any], refused_values: set[str]) -> list[dict[str, str]]:
    data = body.get("data", {})
    members = data.get("members", [])
    good = [member for member in members if not refused_values.intersection(map(str, member.values()))]
    audience, action = data.get("audienceId", ""), data.get("action")
    if action == "replace":
        state.hook_replaced(audience, str(data.get("session")), good, last=data.get("last") is True)
    elif action in ("add", "remove"):
        state.hook(audience, good, remove=action == "remove")
    return [
        {"profileId": member["profileId"], "reason": "told to refuse it"} for member in members if member not in good
    ]
