"""One event is judged by itself: what is accepted can be read by every consumer, what is refused says why and where."""

import copy
import json
import re
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_ingest.accept import Accepted, Arrival, Refused, accept
from cdp_ingest.clocks import DeviceClocks
from cdp_schemas.codec import Codec
from cdp_schemas.events import ReceivedEvent

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
RECEIVED = Codec(ReceivedEvent)
TRACK: dict[str, Any] = {
    "type": "track",
    "event": "Product Viewed",
    "messageId": "m-1",
    "anonymousId": "a-1",
    "userId": "u-1",
    "timestamp": "2026-11-20T11:59:58.000Z",
    "properties": {"sku": "S1", "price": 1.5},
    "context": {"library": {"name": "analytics-python", "version": "2.3.4"}},
    "integrations": {"All": True},
    "_metadata": {"bundled": []},
}


def arrival(**fields: Any) -> Arrival:
    return Arrival(**{"workspace_id": "demo", "source_id": "s1", "received_at": NOW, "channel": "server", **fields})


def judged(event: Any, how: Arrival | None = None) -> Accepted | Refused:
    raw = event if isinstance(event, bytes) else json.dumps(event).encode()
    return accept(raw, how or arrival(), lambda: "new-id")


def accepted(event: Any, how: Arrival | None = None) -> ReceivedEvent:
    verdict = judged(event, how)
    assert isinstance(verdict, Accepted), verdict
    message: ReceivedEvent = RECEIVED.decode(verdict.value)
    assert message.message_id == verdict.message_id
    return message


def key(event: Any) -> bytes:
    verdict = judged(event)
    assert isinstance(verdict, Accepted)
    return verdict.key


def fault(event: Any, how: Arrival | None = None) -> tuple[str, str]:
    verdict = judged(event, how)
    assert isinstance(verdict, Refused), verdict
    assert verdict.raw == (event if isinstance(event, bytes) else json.dumps(event).encode())
    return verdict.fault.refusal.label, verdict.fault.path


def test_a_track_call_arrives_as_it_was_sent() -> None:
    message = accepted(TRACK)
    assert (message.workspace_id, message.source_id, message.type, message.event) == (
        "demo",
        "s1",
        "track",
        "Product Viewed",
    )
    assert (message.message_id, message.user_id, message.anonymous_id) == ("m-1", "u-1", "a-1")
    assert (message.received_at, message.timestamp) == (NOW, NOW - timedelta(seconds=2))
    assert json.loads(bytes(message.properties)) == TRACK["properties"]
    assert json.loads(bytes(message.context)) == TRACK["context"]
    assert json.loads(bytes(message.integrations)) == {"All": True}


def test_properties_pass_through_byte_for_byte() -> None:
    odd = b'{"type":"track","event":"E","userId":"u","properties":{ "a" : 1.500, "a":2,"\\u00e9":[ ] }}'
    assert bytes(accepted(odd).properties) == b'{ "a" : 1.500, "a":2,"\\u00e9":[ ] }'


def test_the_path_names_the_call_else_the_event_does() -> None:
    assert accepted({**TRACK, "type": None}, arrival(call="track")).type == "track"
    assert fault({**TRACK, "type": None}) == ("type_unknown", "type")
    assert fault({**TRACK, "type": "consent"}) == ("type_unknown", "type")
    assert fault({**TRACK, "type": "delete"}) == ("type_unknown", "type")


def test_a_missing_message_id_is_given() -> None:
    for absent in ({}, {"messageId": None}, {"messageId": ""}):
        event = {k: v for k, v in TRACK.items() if k != "messageId"} | absent
        assert accepted(event).message_id == "new-id"


@pytest.mark.parametrize(
    ("sent", "kept"), [(12345, "12345"), (12.0, "12"), (1.5, "1.5"), ("x", "x"), (" ", None), ("", None), (None, None)]
)
def test_ids_may_be_numbers_and_blank_ones_are_absent(sent: Any, kept: str | None) -> None:
    assert accepted({**TRACK, "userId": sent}).user_id == kept


@pytest.mark.parametrize(
    ("fields", "expected"),
    [
        ({"userId": "u", "anonymousId": "a"}, b"demo|u"),
        ({"anonymousId": "a", "groupId": "g"}, b"demo|a"),
        ({"type": "alias", "previousId": "p"}, b"demo|p"),
        ({"type": "group", "groupId": "g"}, b"demo|g"),
        ({"deviceId": "d"}, b"demo|d"),
        ({"profileId": "profile-1"}, b"demo|profile-1"),
    ],
)
def test_the_key_is_the_best_identifier(fields: dict[str, str], expected: bytes) -> None:
    assert key({"type": "track", "event": "E", **fields}) == expected


def test_an_event_of_nobody_is_refused() -> None:
    nobody = {"type": "track", "event": "E", "userId": "", "anonymousId": None, "previousId": "p", "groupId": "g"}
    assert fault(nobody) == ("identity_missing", "userId")


def test_a_track_call_needs_a_name_and_others_have_none() -> None:
    for name in (None, "", "  "):
        assert fault({**TRACK, "event": name}) == ("event_name_missing", "event")
    assert accepted({**TRACK, "type": "identify", "event": None}).event is None
    assert accepted({**TRACK, "type": "page"}).event is None


@pytest.mark.parametrize(
    ("change", "path"),
    [
        ({"event": 7}, "event"),
        ({"userId": {}}, "userId"),
        ({"userId": True}, "userId"),
        ({"type": []}, "type"),
        ({"properties": [1]}, "properties"),
        ({"properties": "x"}, "properties"),
        ({"traits": 7}, "traits"),
        ({"context": []}, "context"),
        ({"integrations": False}, "integrations"),
        ({"timestamp": {}}, "timestamp"),
    ],
)
def test_a_wrong_type_is_refused_with_its_path(change: dict[str, Any], path: str) -> None:
    assert fault({**TRACK, **change}) == ("field_invalid", path)


def test_null_objects_are_empty_ones() -> None:
    message = accepted({**TRACK, "properties": None, "traits": None, "context": None, "integrations": None})
    assert [bytes(raw) for raw in (message.properties, message.traits, message.context)] == [b"{}"] * 3


def test_too_long_ids_and_too_large_events_are_refused() -> None:
    assert fault({**TRACK, "userId": "x" * 513}) == ("field_too_long", "userId")
    assert fault({**TRACK, "properties": {"a": "x" * 33_000}}) == ("event_too_large", "")
    assert accepted({**TRACK, "properties": {"a": "x" * 32_000}})
    assert fault(TRACK, arrival(context=b'{"a":"' + b"x" * 33_000 + b'"}')) == ("event_too_large", "")


@pytest.mark.parametrize("path", ["timestamp", "originalTimestamp"])
def test_a_time_that_cannot_be_read_is_refused_with_its_path(path: str) -> None:
    event = {**TRACK, "timestamp": None, path: "2026-02-15T101:30:00.000Z"}
    assert fault(event) == ("timestamp_invalid", path)


@pytest.mark.parametrize(
    "hidden", ['{"a":"\\u0000"}', '{"a":1e999}', '{"a":"\\ud800"}', '{"a":' + "[" * 40 + "]" * 40 + "}"]
)
def test_hidden_faults_are_found_though_properties_are_not_read(hidden: str) -> None:
    raw = b'{"type":"track","event":"E","userId":"u","properties":' + hidden.encode() + b"}"
    assert isinstance(judged(raw), Refused)


def test_of_a_doubled_field_the_last_counts_and_only_it_is_written() -> None:
    verdict = judged(b'{"type":"track","event":"E","userId":"first","userId":"last"}')
    assert isinstance(verdict, Accepted)
    assert verdict.value.count(b'"userId"') == 1
    assert RECEIVED.decode(verdict.value).user_id == "last"


def test_the_envelopes_context_goes_under_the_events() -> None:
    how = arrival(context=b'{"library":{"name":"low"},"locale":"de"}', integrations=b'{"All":false,"X":true}')
    message = accepted(TRACK, how)
    assert json.loads(bytes(message.context)) == {**TRACK["context"], "locale": "de"}
    assert json.loads(bytes(message.integrations)) == {"All": True, "X": True}


def test_the_connection_fills_only_what_a_device_did_not_say() -> None:
    facts = {"ip": "9.9.9.9", "userAgent": "me"}
    client = arrival(channel="client", connection=facts)
    assert json.loads(bytes(accepted(TRACK, client).context)) == {**facts, **TRACK["context"]}
    own = {**TRACK, "context": {"ip": "1.1.1.1", "userAgent": "x"}}
    assert json.loads(bytes(accepted(own, client).context)) == own["context"]


@pytest.mark.parametrize(
    ("fields", "context"),
    [
        ({"deviceId": "d-1"}, {"device": {"id": "d-1"}}),
        ({"deviceId": "d-1", "context": {"device": {"id": None, "os": "X"}}}, {"device": {"id": "d-1", "os": "X"}}),
        ({"deviceId": "d-1", "context": {"device": {"id": "own"}}}, {"device": {"id": "own"}}),
        ({"deviceId": "d-1", "context": {"device": "X"}}, {"device": "X"}),
        ({"type": "group", "groupId": 7}, {"groupId": "7"}),
        ({"type": "group", "groupId": "7", "context": {"groupId": "own"}}, {"groupId": "own"}),
    ],
)
def test_the_context_tells_the_device_and_the_group(fields: dict[str, Any], context: dict[str, Any]) -> None:
    assert json.loads(bytes(accepted({**TRACK, "context": {}, **fields}).context)) == context


def test_a_blank_in_an_empty_object_costs_nothing() -> None:
    page = b'{"type":"page","userId":"u","name":"Home","properties":{ },"context":{\n\n}}'
    message = accepted(page, arrival(channel="client", connection={"ip": "9.9.9.9"}))
    assert json.loads(bytes(message.properties)) == {"name": "Home"}
    assert json.loads(bytes(message.context)) == {"ip": "9.9.9.9"}


def test_a_pages_name_and_category_go_into_its_properties() -> None:
    page = {**TRACK, "type": "page", "name": "Home", "category": "Docs", "properties": {"name": "Own", "path": "/"}}
    assert json.loads(bytes(accepted(page).properties)) == {"category": "Docs", "name": "Own", "path": "/"}
    assert "name" not in json.loads(bytes(accepted({**page, "type": "track", "properties": {}}).properties))


def test_rudders_identify_its_time_and_its_session_are_understood() -> None:
    event = {
        "type": "identify", "event": None, "properties": None, "userId": "u", "messageId": "m", "channel": "web",
        "originalTimestamp": "2026-11-20T11:59:00.000Z", "sentAt": "2026-11-20T11:59:59.000Z",
        "context": {"traits": {"email": "a@x.de"}, "sessionId": 1795176000, "sessionStart": True},
    }  # fmt: skip
    message = accepted(event)
    assert json.loads(bytes(message.traits)) == {"email": "a@x.de"}
    assert message.timestamp == datetime(2026, 11, 20, 11, 59, tzinfo=UTC)
    assert message.session_id == "1795176000"


def test_a_skewed_clock_is_corrected_and_the_original_kept() -> None:
    ahead = {**TRACK, "timestamp": "2026-11-20T13:00:00Z", "sentAt": "2026-11-20T13:00:10Z"}
    message = accepted(ahead)
    assert (message.timestamp, message.clock) == (NOW - timedelta(seconds=10), "corrected")
    assert message.original_timestamp == datetime(2026, 11, 20, 13, tzinfo=UTC)


def test_a_mobile_library_that_was_offline_keeps_its_times_and_an_honest_one_is_corrected() -> None:
    two_days = datetime(2026, 11, 18, 12, tzinfo=UTC)
    for library, expected in (("analytics-swift", two_days), ("analytics-python", NOW)):
        event = {**TRACK, "timestamp": two_days.isoformat(), "context": {"library": {"name": library}}}
        assert accepted(event, arrival(sent_at=two_days)).timestamp == expected


def test_a_phone_with_a_late_clock_is_corrected_once_it_is_known() -> None:
    devices = DeviceClocks()
    verdicts = []
    for minutes in (0, 30, 61):
        now = NOW + timedelta(minutes=minutes)
        sent = (now - timedelta(hours=2)).isoformat()
        event = {**TRACK, "timestamp": sent, "context": {"library": {"name": "analytics-kotlin"}}, "sentAt": sent}
        how = arrival(channel="client", received_at=now)
        verdict = accept(json.dumps(event).encode(), how, lambda: "x", devices)
        assert isinstance(verdict, Accepted)
        verdicts.append(RECEIVED.decode(verdict.value).clock)
    assert verdicts == ["trusted", "trusted", "corrected"]


def test_a_broken_sent_at_does_not_cost_the_event() -> None:
    for sent_at in ("soon", {}, [], True, ""):
        assert accepted({**TRACK, "sentAt": sent_at}).sent_at is None


_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\],:]')
KEYS = [*TRACK, "traits", "sentAt", "name", "previousId", "deviceId", "sessionId", "originalTimestamp"]
JUNK = st.one_of(
    st.none(), st.booleans(), st.integers(), st.floats(), st.text(max_size=6), st.just([]), st.just({}),
    st.just({"\0": 1}), st.just("\ud800"), st.just("2026-11-20T12:00:00Z"), st.just([[[]]]),
    st.dictionaries(st.text(max_size=3), st.integers() | st.text(max_size=3), max_size=3),
)  # fmt: skip


@settings(max_examples=400)
@given(
    st.dictionaries(st.sampled_from(KEYS), JUNK, max_size=5),
    st.booleans(),
    st.sampled_from([None, "track", "identify", "page"]),
    st.sampled_from(["client", "server"]),
    st.text(" \t\r\n", max_size=2),
)
def test_no_event_crashes_the_judge_and_what_it_accepts_every_consumer_can_read(
    changes: dict[str, Any], ascii_only: bool, call: str | None, channel: Any, blanks: str
) -> None:
    event = copy.deepcopy(TRACK) | changes
    raw = spaced(json.dumps(event, ensure_ascii=ascii_only), blanks).encode("utf-8", "surrogatepass")
    facts = {"ip": "9.9.9.9"} if channel == "client" else {}
    verdict = accept(raw, arrival(call=call, channel=channel, connection=facts), lambda: "new", DeviceClocks())
    if isinstance(verdict, Accepted):
        readable(verdict)


@settings(max_examples=400)
@given(st.data())
def test_flipped_bytes_never_crash_the_judge(data: st.DataObject) -> None:
    raw = bytearray(json.dumps(TRACK).encode())
    for _ in range(data.draw(st.integers(1, 4))):
        raw[data.draw(st.integers(0, len(raw) - 1))] = data.draw(st.integers(0, 255))
    verdict = judged(bytes(raw))
    if isinstance(verdict, Accepted):
        readable(verdict)
    else:
        assert verdict.raw == bytes(raw)


def spaced(text: str, blanks: str) -> str:
    """JSON with these blanks beside every bracket, comma and colon, where ``json.dumps`` would never put them."""
    return _TOKEN.sub(lambda token: token[0] if token[0][0] == '"' else blanks + token[0] + blanks, text)


def readable(verdict: Accepted) -> None:
    """Decodes as the consumers do: the message, then each raw object in full, then as UTF-8 text without NUL."""
    message = RECEIVED.decode(verdict.value)
    for raw in (message.properties, message.traits, message.context, message.integrations):
        text = json.dumps(json.loads(bytes(raw).decode()), allow_nan=False, ensure_ascii=False)
        assert "\\u0000" not in text
        text.encode()
    verdict.key.decode()
