"""The plain shape of the HTTP API becomes the same messages as the SDKs' calls."""

import json
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from cdp_ingest.accept import Accepted, Arrival, Refused
from cdp_ingest.seed_events import PlainJudge, references
from cdp_schemas.codec import Codec
from cdp_schemas.event_names import TYPE_NAMES
from cdp_schemas.events import ReceivedEvent

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
ARRIVAL = Arrival("demo", "http-api", NOW, "api")
PROFILE = UUID(int=7)
PURCHASE: dict[str, Any] = {
    "profileId": f"profile-{PROFILE.hex}",
    "type": "purchase",
    "timestamp": "2026-02-15T10:30:00.000Z",
    "properties": {"orderId": "ORD-789", "amount": 249.99, "items": [{"productId": "SKU-456"}]},
    "sessionId": "session-xyz789",
    "deviceId": "device-mobile123",
    "source": "web",
}


def judged(event: dict[str, Any]) -> Accepted | Refused:
    judge = PlainJudge({"email:ada@x.de": PROFILE})
    return judge(json.dumps(event).encode(), ARRIVAL, lambda: "new")


def accepted(event: dict[str, Any]) -> ReceivedEvent:
    verdict = judged(event)
    assert isinstance(verdict, Accepted), verdict
    message: ReceivedEvent = Codec(ReceivedEvent).decode(verdict.value)
    return message


def fault(event: dict[str, Any]) -> tuple[str, str]:
    verdict = judged(event)
    assert isinstance(verdict, Refused), verdict
    return verdict.fault.refusal.label, verdict.fault.path


def test_a_purchase_is_an_order_completed() -> None:
    message = accepted(PURCHASE)
    assert (message.type, message.event, message.channel) == ("track", "Order Completed", "api")
    assert (message.profile_id, message.device_id) == (f"profile-{PROFILE.hex}", "device-mobile123")
    assert message.session_id == "session-xyz789"
    assert message.timestamp == datetime(2026, 2, 15, 10, 30, tzinfo=UTC)
    assert json.loads(bytes(message.properties)) == PURCHASE["properties"]
    assert json.loads(bytes(message.context)) == {"source": "web", "device": {"id": "device-mobile123"}}
    assert message.message_id == "new"


def test_the_source_stands_in_an_empty_context_with_a_blank_too() -> None:
    verdict = PlainJudge({})(b'{"type":"page_view","userId":"u","source":"web","context":{ }}', ARRIVAL, lambda: "new")
    assert isinstance(verdict, Accepted)
    assert json.loads(bytes(Codec(ReceivedEvent).decode(verdict.value).context)) == {"source": "web"}


@pytest.mark.parametrize(("kind", "names"), [item for item in TYPE_NAMES.items() if item[0] != "page_view"])
def test_every_type_has_its_canonical_name(kind: str, names: tuple[str, ...]) -> None:
    assert accepted({**PURCHASE, "type": kind}).event == names[0]


def test_a_page_view_is_a_page_call_and_a_screen_in_an_app() -> None:
    assert accepted({**PURCHASE, "type": "page_view"}).type == "page"
    assert accepted({**PURCHASE, "type": "page_view", "source": "app"}).type == "screen"


def test_a_custom_event_has_its_own_name() -> None:
    assert accepted({**PURCHASE, "type": "custom", "event": "Wheel Spun"}).event == "Wheel Spun"
    assert accepted({**PURCHASE, "type": "custom"}).event == "custom"
    assert accepted({**PURCHASE, "type": "track", "event": "Wheel Spun"}).event == "Wheel Spun"


def test_ids_that_are_given_belong_to_a_place_in_the_call_whatever_becomes_of_the_others() -> None:
    def ids(profiles: dict[str, UUID]) -> list[str | None]:
        judge = PlainJudge(profiles, iter(["first", "second", "third"]))
        events = ({"profileId": "email:ada@x.de"}, {"userId": "u", "messageId": "own"}, {"userId": "u"})
        verdicts = [judge(json.dumps({"type": "custom"} | e).encode(), ARRIVAL, lambda: "new") for e in events]
        return [verdict.message_id for verdict in verdicts]

    assert ids({}) == [None, "own", "third"]
    assert ids({"email:ada@x.de": PROFILE}) == ["first", "own", "third"]


@pytest.mark.parametrize(
    ("change", "expected"),
    [
        ({"timestamp": "2026-02-15T101:30:00.000Z"}, ("timestamp_invalid", "timestamp")),
        ({"type": "purchse"}, ("type_unknown", "type")),
        ({"type": 7}, ("field_invalid", "type")),
        ({"profileId": "profile-abc123"}, ("field_invalid", "profileId")),
        ({"profileId": "email:who@x.de"}, ("field_invalid", "profileId")),
        ({"profileId": 7}, ("field_invalid", "profileId")),
        ({"properties": []}, ("field_invalid", "properties")),
        ({"profileId": None, "deviceId": None}, ("identity_missing", "userId")),
    ],
)
def test_a_fault_is_named_with_its_path(change: dict[str, Any], expected: tuple[str, str]) -> None:
    assert fault({**PURCHASE, **change}) == expected


def test_a_misspelled_field_is_refused_by_name() -> None:
    verdict = judged({**PURCHASE, "propertys": {}})
    assert isinstance(verdict, Refused)
    assert "propertys" in verdict.fault.message


def test_a_profile_may_be_named_by_an_identifier_that_was_resolved() -> None:
    assert accepted({**PURCHASE, "profileId": "email:ada@x.de"}).profile_id == f"profile-{PROFILE.hex}"
    refs = [b'{"profileId":"email:b@x.de"}', b'{"profileId":"profile-1"}', b"broken", b'{"profileId":"email:a@x.de"}']
    assert references(refs) == ["email:a@x.de", "email:b@x.de"]
