"""The consent gate: what lacks a grant is set apart, and no change of consent is lost by it."""

import json
from datetime import UTC, datetime
from typing import Any

import pytest

from cdp_ingest.accept import Accepted, Arrival, Refused, accept
from cdp_schemas.codec import Codec
from cdp_schemas.consent import preferences
from cdp_schemas.events import ReceivedEvent

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
WHO = {"userId": "u", "anonymousId": "a", "messageId": "m", "timestamp": "2026-11-20T11:00:00Z"}
TRACK = {"type": "track", "event": "Product Viewed", "properties": {"sku": "S"}, **WHO}
IDENTIFY = {"type": "identify", "traits": {"email": "ada@example.com"}, **WHO}


def judged(event: Any, *required: str, **envelope: Any) -> Accepted | Refused:
    arrival = Arrival("demo", "s1", NOW, "client", required_consent=required, connection={"ip": "8.8.4.4"}, **envelope)
    return accept(json.dumps(event).encode(), arrival, lambda: "new-id")


def message(verdict: Accepted | Refused) -> ReceivedEvent:
    assert isinstance(verdict, Accepted), verdict
    received: ReceivedEvent = Codec(ReceivedEvent).decode(verdict.value)
    return received


def said(**categories: Any) -> dict[str, Any]:
    return {"consent": {"categoryPreferences": categories}}


def rudder(allowed: list[str], denied: list[str]) -> dict[str, Any]:
    return {"consentManagement": {"allowedConsentIds": allowed, "deniedConsentIds": denied, "provider": "custom"}}


@pytest.mark.parametrize(
    "context",
    [
        said(analytics=True),
        said(analytics=True, ads=False),
        rudder(["analytics"], []),
        {**said(analytics=True), "traits": {"email": "x@example.com"}},
    ],
)
def test_a_granted_event_is_kept_as_it_is(context: dict[str, Any]) -> None:
    kept = message(judged({**TRACK, "context": context}, "analytics"))
    assert json.loads(bytes(kept.context)) == {"ip": "8.8.4.4", **context}
    assert json.loads(bytes(kept.properties)) == {"sku": "S"}


@pytest.mark.parametrize(
    "context",
    [
        {},
        {"consent": None},
        {"consent": "yes"},
        {"consent": {"categoryPreferences": ["analytics"]}},
        said(),
        said(analytics=False),
        said(analytics="true"),
        said(analytics=1),
        said(ads=True),
        rudder([], ["analytics"]),
        rudder(["analytics"], ["analytics"]),
        {**said(analytics=True), **rudder([], ["analytics"])},
    ],
)
@pytest.mark.parametrize("call", ["track", "page", "screen", "group", "alias"])
def test_an_event_without_the_grant_is_set_apart(call: str, context: dict[str, Any]) -> None:
    event = {**TRACK, "type": call, "groupId": "g", "previousId": "p", "context": context}
    verdict = judged(event, "analytics")
    assert isinstance(verdict, Refused)
    assert (verdict.fault.refusal.label, verdict.fault.refusal.status, verdict.message_id) == ("consent", 200, "m")
    assert json.loads(verdict.raw) == event


def test_every_category_is_needed() -> None:
    verdict = judged({**TRACK, "context": said(analytics=True, ads=False)}, "ads", "analytics")
    assert isinstance(verdict, Refused)
    assert verdict.fault.detail == "Its source needs ads, analytics; not granted: ads."
    assert message(judged({**TRACK, "context": said(analytics=True, ads=True)}, "ads", "analytics"))


def test_without_a_gate_nothing_is_asked() -> None:
    assert message(judged({**TRACK, "context": said(analytics=False)})).event == "Product Viewed"


CHANGES = [
    IDENTIFY,
    *(
        {**TRACK, "event": name}
        for name in (
            "Segment Consent Preference Updated",
            "Segment Consent Preference",
            "Consent Management Interaction",
        )
    ),
]


@pytest.mark.parametrize("change", CHANGES)
@pytest.mark.parametrize(
    "context", [said(analytics=False), said(ads=True), rudder([], ["analytics"]), rudder(["ads"], [])]
)
def test_a_change_of_consent_is_kept_and_nothing_else_of_its_call(
    change: dict[str, Any], context: dict[str, Any]
) -> None:
    event = {
        **change,
        "integrations": {"Ads": True},
        "sessionId": "s",
        "context": {**context, "traits": {"email": "x@example.com"}, "page": {"url": "/secret"}, "sessionId": 7},
    }
    verdict = judged(event, "analytics", context=b'{"campaign":{"name":"c"}}', integrations=b'{"All":true}')
    kept = message(verdict)
    assert isinstance(verdict, Accepted) and not verdict.is_whole
    assert (kept.user_id, kept.anonymous_id, kept.message_id, kept.type) == ("u", "a", "m", change["type"])
    assert kept.timestamp == datetime(2026, 11, 20, 11, tzinfo=UTC)
    assert (kept.event, kept.session_id) == (change.get("event"), None)
    found = json.loads(bytes(kept.context))
    assert found == context
    assert preferences(found.get("consent"), found.get("consentManagement"))
    assert [bytes(kept.traits), bytes(kept.properties), bytes(kept.integrations)] == [b"{}"] * 3


def test_a_change_with_every_grant_is_kept_whole() -> None:
    verdict = judged({**IDENTIFY, "context": said(analytics=True)}, "analytics")
    assert isinstance(verdict, Accepted) and verdict.is_whole
    assert json.loads(bytes(message(verdict).traits)) == {"email": "ada@example.com"}


def test_an_identify_that_says_nothing_about_consent_is_no_change() -> None:
    assert isinstance(judged(IDENTIFY, "analytics"), Refused)
