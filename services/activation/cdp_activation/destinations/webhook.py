"""Members -> signed calls to an address of the workspace's own (Standard Webhooks 1.0.0). Pure."""

import base64
import binascii
import json
from collections.abc import Sequence
from datetime import datetime, timedelta
from hashlib import blake2b
from typing import Any, Final

from standardwebhooks import Webhook as Signer

from cdp_activation.destinations import hashing
from cdp_activation.destinations.answers import by_status, json_object, reason
from cdp_activation.destinations.destination import (
    Batch,
    CatalogEntry,
    Cells,
    Config,
    HttpRequest,
    HttpResponse,
    Row,
    SettingField,
)
from cdp_activation.outcome import CallOutcome, Delivered, RejectedRow
from cdp_activation.profile import Profile
from cdp_schemas.profiles import profile_ref

_FIELDS: Final = (
    *("userId", "email", "phone", "anonymousId", "firstName", "lastName"),
    *("city", "state", "postalCode", "country"),
)
_EVENT_TYPES: Final = {
    "add": "audience.members_added",
    "remove": "audience.members_removed",
    "replace": "audience.members_replaced",
}
_ENTRY: Final = CatalogEntry(
    type="webhook",
    name="Webhook",
    platform="webhook",
    description="Calls an address of yours with the members who entered or left, signed as Standard Webhooks say.",
    settings=(
        SettingField("url", "Address", "url", "https address that takes POST", required=True),
        SettingField(
            "fields",
            "Fields",
            "list",
            "what is told of each member beside its profileId",
            default=["userId", "email", "phone"],
            choices=_FIELDS,
        ),
        SettingField("batchSize", "Members per call", "integer", "1 to 1000", default=100, minimum=1, maximum=1000),
        SettingField("timeoutSeconds", "Timeout", "integer", "1 to 30 seconds", default=15, minimum=1, maximum=30),
    ),
    credentials=(
        SettingField(
            "secret",
            "Signing secret",
            "secret",
            "whsec_ and the base64 of 24 to 64 random bytes",
            required=True,
            pattern=r"whsec_[A-Za-z0-9+/]{32,88}={0,2}",
        ),
    ),
    audience=(),
    operations=("add", "remove", "replace"),
    max_rows=1000,
    requests_per_second=20.0,
    default_purposes=(),
)


def secret_fault(secret: str) -> str | None:
    """Why a signing secret cannot be used; None when it can."""
    try:
        length = len(base64.b64decode(secret.removeprefix("whsec_"), validate=True))
    except (binascii.Error, ValueError):
        return "must be whsec_ followed by base64"
    return None if 24 <= length <= 64 else f"must hold 24 to 64 bytes, it holds {length}"


class Webhook:
    """The receiver keeps a set keyed by ``profileId`` and drops calls whose ``webhook-id`` it has seen."""

    entry = _ENTRY

    def cells(self, profile: Profile, config: Config) -> Cells | None:
        def normal(text: str) -> str:
            return hashing.phone_e164(text, config.phone_region)

        known = {
            **profile.traits,
            "userId": profile.first("user_id"),
            "email": hashing.email(profile.first("email", hashing.email)),
            "phone": normal(profile.first("phone", normal)),
            "anonymousId": profile.first("anonymous_id"),
        }
        wanted = config.settings["fields"]
        return {"profileId": profile_ref(profile.profile_id), **{name: known.get(name, "") for name in wanted}}

    def match_values(self, cells: Cells) -> Sequence[str]:
        return (cells["profileId"],)

    def build(self, batch: Batch, config: Config, now: datetime) -> HttpRequest:
        url = config.settings["url"]
        body = json.dumps(_body(batch), separators=(",", ":"), ensure_ascii=False)
        return _signed(url, body, config, now)

    def read(self, response: HttpResponse, batch: Batch, now: datetime) -> CallOutcome:
        if not 200 <= response.status < 300:
            return by_status(response, now, timedelta(seconds=60))
        return CallOutcome(Delivered(), _refused(json_object(response), batch))

    def probe(self, config: Config, now: datetime) -> HttpRequest:
        body = json.dumps({"type": "ping", "timestamp": now.isoformat(), "data": {}})
        return _signed(config.settings["url"], body, config, now)

    def read_probe(self, response: HttpResponse, now: datetime) -> CallOutcome:
        if 200 <= response.status < 300:
            return CallOutcome(Delivered())
        return by_status(response, now, timedelta(seconds=60))


def _body(batch: Batch) -> dict[str, Any]:
    data: dict[str, Any] = {
        "workspaceId": batch.workspace_id,
        "audienceId": batch.audience_id,
        "action": batch.operation,
        "members": [_member(row) for row in batch.rows],
    }
    if batch.session is not None:
        session = batch.session
        data |= {"session": str(session.session_id), "page": session.page, "last": session.last}
    # the time is that of the newest change, not of the attempt: a repeated call has the same body and so the same id
    return {"type": _EVENT_TYPES[batch.operation], "timestamp": batch.as_of.isoformat(), "data": data}


def _member(row: Row) -> dict[str, Any]:
    told = {name: text for name, text in row.cells.items() if text}
    return {**told, "sequence": row.sequence}


def _signed(url: str, body: str, config: Config, now: datetime) -> HttpRequest:
    message_id = "msg_" + blake2b(f"{url}\n{body}".encode(), digest_size=16).hexdigest()
    headers = {
        "content-type": "application/json",
        "user-agent": "Millrace-Webhooks/1",
        "webhook-id": message_id,
        "webhook-timestamp": str(int(now.timestamp())),
        "webhook-signature": Signer(config.credentials["secret"]).sign(message_id, now, body),
    }
    return HttpRequest("POST", url, headers, body.encode(), float(config.settings.get("timeoutSeconds", 15)))


def _refused(answer: dict[str, Any] | None, batch: Batch) -> dict[int, RejectedRow]:
    """A receiver may say ``{"rejected": [{"profileId", "reason"}]}`` beside yes."""
    said = answer.get("rejected") if answer else None
    if not isinstance(said, list):
        return {}
    reasons = {
        entry["profileId"]: reason(entry.get("reason"), "refused by the receiver")
        for entry in said
        if isinstance(entry, dict) and isinstance(entry.get("profileId"), str)
    }
    return {
        row.index: RejectedRow(reasons[row.cells["profileId"]])
        for row in batch.rows
        if row.cells["profileId"] in reasons
    }
