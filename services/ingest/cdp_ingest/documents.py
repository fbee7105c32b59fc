"""A source -> the settings documents that SDKs load before they send: Segment's, and RudderStack's source config."""

from collections.abc import Mapping
from typing import Any, Final

from cdp_ingest.ports import Source

_BACKOFF: Final[Mapping[str, Any]] = {
    "rateLimitConfig": {"enabled": True, "maxRetryCount": 100, "maxRetryInterval": 300},
    "backoffConfig": {
        "enabled": True,
        "maxRetryCount": 100,
        "baseBackoffInterval": 0.5,
        "maxBackoffInterval": 300,
        "maxTotalBackoffDuration": 43200,
        "jitterPercent": 10,
        "default4xxBehavior": "drop",
        "default5xxBehavior": "retry",
        "statusCodeOverrides": {"408": "retry", "429": "retry", "401": "retry"},
    },
}


def segment_settings(write_key: str, source: Source, host: str, scheme: str) -> dict[str, Any]:
    """One document for all of Segment's SDKs; ``host`` is where this gateway is reached, without scheme.

    ``Segment.io`` must be there, or the browser library sends to Segment's own host. No field is null or a list where
    Kotlin expects an object. A consent library reads from it which categories it has to ask for.
    """
    return {
        "integrations": {"Segment.io": _segment_io(write_key, host, scheme)},
        "plan": {
            "track": {"__default": {"enabled": True, "integrations": {}}},
            "identify": {"__default": {"enabled": True}},
            "group": {"__default": {"enabled": True}},
        },
        "middlewareSettings": {"routingRules": []},
        "enabledMiddleware": {},
        "metrics": {"sampleRate": 0},
        "edgeFunction": {},
        "consentSettings": {"allCategories": list(source.required_consent), "hasUnmappedDestinations": True},
        "legacyVideoPluginsEnabled": False,
        "remotePlugins": [],
    }


def rudder_source_config(write_key: str, source: Source) -> dict[str, Any]:
    """What RudderStack's SDKs need: the source, enabled, without destinations of its own."""
    return {
        "source": {
            "id": source.source_id,
            "name": source.name,
            "writeKey": write_key,
            "enabled": source.enabled,
            "workspaceId": source.workspace_id,
            "config": {"statsCollection": {"errors": {"enabled": False}, "metrics": {"enabled": False}}},
            "destinations": [],
            "connections": [],
            "updatedAt": source.settings.get("updatedAt", "2026-01-01T00:00:00.000Z"),
        },
        "consentManagementMetadata": {},
    }


def _segment_io(write_key: str, host: str, scheme: str) -> dict[str, Any]:
    return {
        "apiKey": write_key,
        "apiHost": f"{host}/v1",
        "protocol": scheme,
        "retryQueue": True,
        "addBundledMetadata": True,
        "unbundledIntegrations": [],
        "maybeBundledConfigIds": {},
        "versionSettings": {"version": "4.4.7", "componentTypes": ["browser"]},
        "httpConfig": _BACKOFF,
    }
