"""The local workspace's destinations: Facebook and a webhook, both pointing at the stand-in. Idempotent."""

from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from cdp_activation.destinations.registry import checked, settings_of
from cdp_activation.settings import StandinSettings
from cdp_activation.standin.app import ACCESS_TOKEN, WEBHOOK_SECRET
from cdp_runtime.secrets import SecretBox
from cdp_runtime.settings import load

WORKSPACE: Final = "demo"
_INSERT: Final = """
INSERT INTO activation.destinations (workspace_id, destination_id, name, type, settings, credentials)
VALUES (%s, %s, %s, %s, %s, %s)
ON CONFLICT (workspace_id, destination_id) DO UPDATE
    SET settings = excluded.settings, credentials = excluded.credentials, paused_class = NULL, paused_reason = NULL
"""


async def seed_local(postgres_url: str) -> None:
    """Creates or refreshes the two destinations of the workspace ``demo``."""
    settings = load(StandinSettings)
    standin = settings.standin_url or f"http://127.0.0.1:{settings.standin_port}"
    box = SecretBox(settings.secret_key)
    async with await psycopg.AsyncConnection.connect(postgres_url) as connection:
        for name, type_name, own, credentials in _destinations(standin):
            destination_id = f"destination-demo-{type_name.partition('_')[0]}"
            # profiles of the demo shop were never asked about purposes; a refusal is respected all the same
            values, faults = checked(settings_of(type_name), {**own, "consentWhenUnknown": "allow"})
            assert not faults, faults
            sealed = box.seal(credentials, f"{WORKSPACE}|{destination_id}")
            await connection.execute(_INSERT, [WORKSPACE, destination_id, name, type_name, Jsonb(values), sealed])


def _destinations(standin: str) -> list[tuple[str, str, dict[str, Any], dict[str, Any]]]:
    facebook = {"baseUrl": standin, "adAccountId": "act_1", "requestsPerSecond": 50}
    return [
        ("Facebook (stand-in)", "facebook_custom_audiences", facebook, {"accessToken": ACCESS_TOKEN}),
        ("Webhook (stand-in)", "webhook", {"url": f"{standin}/webhook"}, {"secret": WEBHOOK_SECRET}),
    ]
