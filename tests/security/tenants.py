"""A workspace whose every field holds a string that occurs nowhere else, made the way its owner would make it."""

import asyncio
import base64
import random
import uuid
from dataclasses import dataclass, field
from typing import Any

import httpx
import psycopg

from cdp_activation.standin.app import WEBHOOK_SECRET
from cdp_analytics_api.adapters.postgres.tokens import NewToken, create_token
from cdp_analytics_api.adapters.postgres.workspaces import create_workspace
from cdp_ingest.adapters.postgres_sources import NewSource, create_source
from cdp_runtime.auth import SCOPES
from tests.millrace import Millrace


@dataclass
class Tenant:
    """One workspace: its canaries by field, the secrets that open it, and the ids of what it holds."""

    millrace: Millrace
    workspace: str
    mark: str = field(default_factory=lambda: uuid.uuid4().hex[:10])
    canaries: dict[str, str] = field(default_factory=dict)
    ids: dict[str, str] = field(default_factory=dict)
    cursors: dict[str, str] = field(default_factory=dict)
    client: httpx.Client = field(default_factory=lambda: httpx.Client(timeout=30))  # one for thousands of questions

    @property
    def token(self) -> str:
        return self.canary("token")

    @property
    def write_key(self) -> str:
        return self.canary("writekey")

    @property
    def secrets(self) -> set[str]:
        return {self.canaries[name] for name in ("token", "writekey", "secret", "accesstoken")}

    @property
    def all_canaries(self) -> set[str]:
        """The canaries of every field, and the ids, which no one else may see either."""
        return {*self.canaries.values(), *self.ids.values()}

    def canary(self, name: str) -> str:
        """The string of this field: another in each field, so that what was echoed can be told from what leaked."""
        return self.canaries.setdefault(name, f"canary{self.mark}{name}")

    @property
    def references(self) -> dict[str, str]:
        """Every way in which this workspace's things can be addressed."""
        said = {kind: f"{kind}:{self.canaries[kind]}" for kind in ("user_id", "anonymous_id", "phone", "device_id")}
        return {**said, "email": f"email:{self.canaries['email']}", **self.ids}

    def ask(self, method: str, path: str, **options: Any) -> httpx.Response:
        """One request with this workspace's token, unless ``headers`` say otherwise."""
        headers = {"Authorization": f"Bearer {self.token}", **options.pop("headers", {})}
        url = f"http://127.0.0.1:{self.millrace.ports['API']}/api/cdp{path}"
        return self.client.request(method, url, headers=headers, **options)

    def data(self, method: str, path: str, **options: Any) -> Any:
        answer = self.ask(method, path, **options)
        assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
        return answer.json()["data"]

    def send(self, *events: dict[str, Any]) -> None:
        """Events through the gateway with this workspace's write key."""
        answer = httpx.post(f"{self.millrace.gateway}/v1/batch", json={"batch": events}, auth=(self.write_key, ""))
        assert answer.is_success, answer.text

    def visit(self, event: str) -> dict[str, Any]:
        """A track call of this workspace's person."""
        return {"type": "track", "userId": self.canary("user_id"), "event": event, "messageId": uuid.uuid4().hex}


def filled(millrace: Millrace, name: str) -> Tenant:
    """A new workspace with something of everything, delivered at the stand-in. Returns when all of it is there."""
    tenant = Tenant(millrace, f"{name}-{uuid.uuid4().hex[:8]}")
    asyncio.run(_opened(tenant))
    _sends(tenant)
    _owns(tenant)
    _delivers(tenant)
    for path in ("/segments", "/audiences", "/destinations", "/suppressions", "/events"):
        tenant.cursors[path] = tenant.data("GET", path, params={"limit": 1}).get("nextCursor") or ""
    return tenant


async def _opened(tenant: Tenant) -> None:
    async with await psycopg.AsyncConnection.connect(tenant.millrace.postgres_url) as connection:
        await create_workspace(connection, tenant.workspace, tenant.canary("workspacename"))
        await create_token(connection, NewToken(tenant.workspace, "all", tenant.token, sorted(SCOPES)))
        source = NewSource(tenant.workspace, f"web-{tenant.mark}", tenant.canary("sourcename"), tenant.write_key)
        await create_source(connection, source)


def _sends(tenant: Tenant) -> None:
    tenant.canaries["email"] = f"canary{tenant.mark}@example.com"
    tenant.canaries["phone"] = f"+1415{random.randrange(2_000_000, 9_999_999)}"
    person = {"userId": tenant.canary("user_id"), "anonymousId": tenant.canary("anonymous_id")}
    traits = {name: tenant.canary(name) for name in ("firstName", "title", "plan")}
    device = {
        "device": {"id": tenant.canary("device_id")},
        "page": {"url": f"https://x.example/{tenant.canary('url')}"},
    }
    contact = {"email": tenant.canaries["email"], "phone": tenant.canaries["phone"]}
    order = {"order_id": tenant.canary("order"), "revenue": 500, "currency": "USD", "coupon": tenant.canary("coupon")}
    tenant.send(
        {"type": "identify", **person, "traits": {**traits, **contact}, "context": device},
        {"type": "track", **person, "event": "Order Completed", "properties": order},
        {"type": "track", **person, "event": tenant.canary("event"), "properties": {"note": tenant.canary("note")}},
        {"type": "track", **person, "properties": {"broken": tenant.canary("quarantined")}},  # no name: quarantined
    )
    profile = tenant.millrace.until(
        "the profile",
        lambda: tenant.data("GET", f"/profiles/user_id:{tenant.canary('user_id')}"),
        lambda found: float(found["computed"]["ltv"]) == 500,
    )
    tenant.ids["profile"] = profile["id"]


def _owns(tenant: Tenant) -> None:
    rules = {"field": "attributes.plan", "operator": "=", "value": tenant.canary("plan")}
    segment = {"name": tenant.canary("segment"), "description": tenant.canary("segmentwords"), "rules": rules}
    tenant.ids["segment"] = tenant.data("POST", "/segments", json=segment)["id"]
    manual = {"name": tenant.canary("manual"), "type": "manual"}
    tenant.ids["manual"] = tenant.data("POST", "/segments", json=manual)["id"]
    tenant.data("POST", f"/segments/{tenant.ids['manual']}/members", json={"profileIds": [tenant.ids["profile"]]})
    suppression = {"kind": "user_id", "value": tenant.canary("suppressed"), "reason": tenant.canary("why")}
    tenant.ids["suppression"] = tenant.data("POST", "/suppressions", json=suppression)["id"]
    tenant.data("POST", "/suppressions", json={"kind": "user_id", "value": tenant.canary("suppressedtoo")})
    tenant.data("POST", "/consent", json={"profileId": tenant.ids["profile"], tenant.canary("purpose"): True})


def _delivers(tenant: Tenant) -> None:
    url = f"http://127.0.0.1:{tenant.millrace.ports['STANDIN']}/webhook"
    hook = {"url": url, "fields": ["userId", "email"], "consentWhenUnknown": "allow"}
    webhook = {"name": tenant.canary("webhook"), "type": "webhook", "settings": hook}
    webhook["credentials"] = {"secret": WEBHOOK_SECRET}  # the only one that the stand-in knows
    tenant.ids["webhook"] = tenant.data("POST", "/destinations", json=webhook)["id"]
    tenant.canaries["secret"] = "whsec_" + base64.b64encode(tenant.mark.encode() * 3).decode()
    spare = {**webhook, "name": tenant.canary("spare"), "credentials": {"secret": tenant.canaries["secret"]}}
    tenant.ids["spare"] = tenant.data("POST", "/destinations", json=spare)["id"]
    facebook = {"name": tenant.canary("facebook"), "type": "facebook_custom_audiences"}
    facebook |= {"settings": {"adAccountId": "act_1"}, "credentials": {"accessToken": tenant.canary("accesstoken")}}
    tenant.ids["facebook"] = tenant.data("POST", "/destinations", json=facebook)["id"]
    audience = {
        "name": tenant.canary("audience"),
        "description": tenant.canary("audiencewords"),
        "segmentIds": [tenant.ids["segment"]],
        "connections": [{"destinationId": tenant.ids["webhook"]}],
    }
    tenant.ids["audience"] = tenant.data("POST", "/audiences", json=audience)["id"]
    activation = {"destinationId": tenant.ids["webhook"], "operation": "add"}
    tenant.data("POST", f"/audiences/{tenant.ids['audience']}/activate", json=activation)
    tenant.data("POST", "/audiences", json={**audience, "name": tenant.canary("other"), "connections": []})
    deliveries = f"/audiences/{tenant.ids['audience']}/deliveries"
    tenant.millrace.until(
        "the delivery",
        lambda: tenant.data("GET", deliveries)["items"],
        lambda items: [item["acknowledged"] for item in items] == [True],
    )
