"""The main job as users see it: events of real SDKs become profiles, segment members and a delivered audience."""

import uuid
from datetime import UTC, datetime
from typing import Any

import httpx
import pytest
import rudderstack.analytics.client as rudder
from segment.analytics.client import Client as SegmentClient
from tests.millrace import Millrace

pytestmark = pytest.mark.stack


def person(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


@pytest.fixture(scope="module")
def big_spenders(millrace: Millrace) -> Any:
    """A segment over lifetime value and an audience of it, delivered to the stand-in for Facebook."""
    rules = {"operator": "AND", "conditions": [{"field": "computed.ltv", "operator": ">", "value": 250}]}
    segment = {"name": person("Big spenders"), "type": "rule-based", "rules": rules}
    created = millrace.api("POST", "/segments", json=segment)
    assert created.is_success, created.text
    segment = created.json()["data"]
    audience = millrace.api(
        "POST",
        "/audiences",
        json={
            "name": person("Big spenders"),
            "segmentIds": [segment["id"]],
            "platforms": ["facebook"],
            "config": {"facebook": {"customAudienceId": "120000000000001", "adAccountId": "act_1"}},
        },
    )
    assert audience.is_success, audience.text
    audience = audience.json()["data"]
    activated = millrace.api(
        "POST", f"/audiences/{audience['id']}/activate", json={"platform": "facebook", "operation": "add"}
    )
    assert activated.is_success, activated.text
    return {"segment": segment, "audience": audience}


def members(millrace: Millrace, segment: Any) -> set[str]:
    page = millrace.data(f"/segments/{segment['id']}/members", limit=1000)
    return {item["id"] if isinstance(item, dict) else item for item in page["items"]}


def delivered(millrace: Millrace, audience: Any) -> set[str]:
    page = millrace.data(f"/audiences/{audience['id']}/deliveries", limit=1000)
    return {item["profileId"] for item in page["items"] if item["acknowledged"]}


def arrives(millrace: Millrace, user: str, ltv: float, where: Any) -> Any:
    """Waits until the person's profile, membership and delivery are there; returns the profile."""
    profile = millrace.profile(f"user_id:{user}", lambda found: float(found["computed"]["ltv"]) == ltv)
    millrace.until("the membership", lambda: members(millrace, where["segment"]), lambda ids: profile["id"] in ids)
    millrace.until("the delivery", lambda: delivered(millrace, where["audience"]), lambda ids: profile["id"] in ids)
    return profile


def test_segment_python_two_devices_become_one_profile(millrace: Millrace, big_spenders: Any) -> None:
    user, failures = person("ada"), []
    client = SegmentClient(
        "demo-write-key",
        host=millrace.gateway,
        gzip=True,
        upload_interval=0.1,
        on_error=lambda e, b: failures.append(e),
    )
    devices = [f"{user}-phone", f"{user}-laptop"]
    for device in devices:
        client.page(anonymous_id=device, name="Home", properties={"path": "/"})
        client.track(anonymous_id=device, event="Product Viewed", properties={"product_id": "LAMP-1"})
        client.identify(user, traits={"email": f"{user}@Example.com", "firstName": "Ada"}, anonymous_id=device)
    for number, revenue in enumerate((200.10, 99.95, 50), 1):
        body = {"order_id": f"{user}-{number}", "revenue": revenue, "currency": "USD"}
        client.track(user, "Order Completed", body, anonymous_id=devices[1], timestamp=datetime.now(UTC))
    client.track(user, "Order Refunded", {"order_id": f"{user}-3"}, anonymous_id=devices[1])
    client.shutdown()
    assert failures == []
    profile = arrives(millrace, user, 300.05, big_spenders)
    assert profile["computed"]["purchaseCount"] == 3
    assert set(profile["externalIds"]["anonymousIds"]) == set(devices)
    assert profile["externalIds"]["email"] == f"{user}@example.com", "an identifier is normalised"
    assert profile["attributes"]["email"] == f"{user}@Example.com", "a trait stays as it was sent"
    for device in devices:
        assert millrace.profile(f"anonymous_id:{device}")["id"] == profile["id"]
    timeline = millrace.until(
        "the timeline",
        lambda: millrace.data(f"/profiles/{profile['id']}/events", limit=50),
        lambda p: len(p["items"]) == 10,
    )
    assert [item["event"] for item in timeline["items"]].count("Order Completed") == 3


def test_rudder_python_reaches_the_same_place(millrace: Millrace, big_spenders: Any) -> None:
    user = person("grace")
    client = rudder.Client("demo-write-key", host=millrace.gateway, gzip=True, upload_interval=0.1)
    client.identify(user, traits={"email": f"{user}@example.com"}, anonymous_id=f"{user}-device")
    client.track(user, "Order Completed", {"order_id": f"{user}-1", "revenue": 999.99, "currency": "USD"})
    client.shutdown()
    profile = arrives(millrace, user, 999.99, big_spenders)
    assert profile["externalIds"]["email"] == f"{user}@example.com"


def test_an_api_event_of_the_seed_counts_like_an_sdk_event(millrace: Millrace, big_spenders: Any) -> None:
    created = millrace.api("POST", "/profiles", json={"email": f"{person('jane')}@example.com", "firstName": "Jane"})
    assert created.is_success, created.text
    profile_id = created.json()["data"]["id"]
    order = {
        "profileId": profile_id,
        "type": "purchase",
        "properties": {
            "orderId": person("ORD"),
            "amount": 260.10,
            "currency": "USD",
            "items": [{"productId": "SKU-1", "quantity": 1, "price": 260.10}],
        },
    }
    assert millrace.api("POST", "/events", json=order).status_code == 200
    millrace.profile(profile_id, lambda found: float(found["computed"]["ltv"]) == 260.10)
    millrace.until("membership", lambda: members(millrace, big_spenders["segment"]), lambda ids: profile_id in ids)


def test_one_bad_event_sinks_no_neighbour(millrace: Millrace) -> None:
    user = person("neighbour")
    batch = [
        {"type": "track", "userId": user, "event": "Good One", "messageId": person("m")},
        {"type": "track", "userId": user, "messageId": person("m")},
        {"type": "track", "userId": user, "event": "Huge", "properties": {"x": "y" * 40_000}},
        {"type": "track", "userId": user, "event": "Good Two", "messageId": person("m")},
    ]
    answer = httpx.post(f"{millrace.gateway}/v1/batch", json={"batch": batch}, auth=("demo-write-key", ""))
    assert (answer.status_code, answer.json()["success"]) == (200, True)
    profile = millrace.profile(f"user_id:{user}")
    events = millrace.until(
        "both events", lambda: millrace.data(f"/profiles/{profile['id']}/events"), lambda p: len(p["items"]) == 2
    )
    assert {item["event"] for item in events["items"]} == {"Good One", "Good Two"}
    millrace.until(
        "the quarantine",
        lambda: [q["reason"] for q in millrace.data("/events/quarantine", limit=100)["items"]],
        lambda reasons: len(reasons) >= 2,
    )


def test_a_wrong_write_key_is_refused_in_words(millrace: Millrace) -> None:
    answer = httpx.post(f"{millrace.gateway}/v1/track", json={"event": "x", "userId": "u"}, auth=("wrong", ""))
    body = answer.json()
    assert answer.status_code == 401
    assert body["success"] is False and body["code"] and body["message"]


def test_bad_rules_are_answered_with_their_paths(millrace: Millrace) -> None:
    rules = {"operator": "AND", "conditions": [{"field": "computed.ltv", "operator": "~~", "value": 1}]}
    answer = millrace.api("POST", "/segments", json={"name": "bad", "type": "rule-based", "rules": rules})
    assert answer.status_code == 422
    assert any("conditions[0]" in detail["path"] for detail in answer.json()["error"]["details"])
