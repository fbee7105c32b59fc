"""Bodies are cut into events, each apart, and a broken event leaves its neighbours whole."""

import json
import time
from typing import Any

import msgspec
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from cdp_ingest.decode import Call, read_batch, read_seed_batch, read_single, text_of, write_key_in
from cdp_ingest.hostile import hidden_fault
from cdp_ingest.refusals import CallRefused

LIMIT = 100


def event(number: int) -> dict[str, Any]:
    return {"type": "track", "userId": f"u{number}", "event": "E", "properties": {"list": [{"type": "x"}, {"b": 2}]}}


def batch(*events: bytes, after: bytes = b"") -> bytes:
    return b'{"writeKey":"k","batch":[' + b",".join(events) + b'],"sentAt":"2026-11-20T12:00:00Z"' + after + b"}"


def users(call: Call) -> list[str]:
    return [json.loads(raw)["userId"] for raw in call.events]


GOOD = [json.dumps(event(number)).encode() for number in range(4)]


def test_a_batch_is_its_events_in_order_with_the_envelope() -> None:
    call = read_batch(batch(*GOOD), LIMIT)
    assert users(call) == ["u0", "u1", "u2", "u3"]
    assert (text_of(call.envelope.write_key), text_of(call.envelope.sent_at)) == ("k", "2026-11-20T12:00:00Z")
    assert call.is_batch
    assert call.broken == ()


@pytest.mark.parametrize(
    "body", [GOOD[1], b"[" + GOOD[1] + b"]", b"\xef\xbb\xbf" + batch(GOOD[1]), b" \n[" + GOOD[1] + b"]"]
)
def test_a_single_event_an_array_and_a_byte_order_mark_are_understood(body: bytes) -> None:
    assert users(read_batch(body, LIMIT)) == ["u1"]


def test_an_empty_batch_is_a_call_without_events() -> None:
    assert read_batch(b'{"batch":[]}', LIMIT).events == []


def test_the_write_key_is_the_envelopes_else_the_first_events() -> None:
    assert write_key_in(read_batch(b'{"batch":[{"writeKey":"e"}],"writeKey":"k"}', LIMIT)) == "k"
    assert write_key_in(read_batch(b'{"batch":[{"writeKey":"e"}],"writeKey":""}', LIMIT)) == "e"
    assert write_key_in(read_batch(b'{"batch":[{"writeKey":7}]}', LIMIT)) is None
    assert write_key_in(read_batch(b'{"batch":[]}', LIMIT)) is None
    assert write_key_in(read_single(b'{"writeKey":"k"}')) == "k"


def test_events_beyond_the_limit_are_set_apart() -> None:
    call = read_batch(batch(*GOOD), 3)
    assert users(call) == ["u0", "u1", "u2"]
    assert [(b.raw, b.fault.refusal.label) for b in call.broken] == [(GOOD[3], "batch_too_long")]


@pytest.mark.parametrize("piece", [b"{}", b"0", b"{x}"])
def test_very_many_pieces_to_be_set_apart_do_not_become_as_many_messages(piece: bytes) -> None:
    pieces = [GOOD[0], *[piece] * 5000]
    call = read_batch(batch(*pieces), LIMIT)
    assert len(call.events) + len(call.broken) <= 2 * LIMIT + 1
    assert b",".join([*call.events, *(broken.raw for broken in call.broken)]) == b",".join(pieces)


HALVED = b'{"type":"track","userId":"half","event":"E","properties":{"a":"x\\ud83d"}}'


def test_an_event_with_half_an_emoji_is_left_to_its_judge_and_costs_its_neighbours_nothing() -> None:
    assert list(read_single(HALVED).events) == [HALVED]
    assert read_seed_batch(b'{"events":[' + HALVED + b"," + GOOD[0] + b"]}", LIMIT).events == [HALVED, GOOD[0]]
    events = [*GOOD[:2], *[HALVED] * 30, *GOOD[2:]]
    for body in (batch(*events, after=b',"context":{"locale":"de"}'), b"[" + b",".join(events) + b"]"):
        call = read_batch(body, LIMIT)
        assert (call.events, call.broken) == (events, [])
    call = read_batch(batch(*events, after=b',"context":{"locale":"de"}'), LIMIT)
    assert (write_key_in(call), bytes(call.envelope.context)) == ("k", b'{"locale":"de"}')


def test_the_write_key_of_an_event_with_half_an_emoji_is_found() -> None:
    keyed = b'{"writeKey":"e",' + HALVED[1:]
    assert write_key_in(read_single(keyed)) == "e"
    assert write_key_in(read_batch(b'{"batch":[' + keyed + b"," + GOOD[0] + b"]}", LIMIT)) == "e"


def test_half_an_emoji_beside_what_is_no_json_at_all_is_cut_as_well() -> None:
    malformed = b'{"type":"track","a":"\\udc00",}'
    call = read_batch(batch(GOOD[0], malformed, HALVED, GOOD[1]), LIMIT)
    assert call.events == [GOOD[0], HALVED, GOOD[1]]
    assert [piece.raw for piece in call.broken] == [malformed]
    with pytest.raises(CallRefused):
        read_single(malformed)


@given(st.lists(st.lists(st.sampled_from(["\ud83d", "\ude00", "\U0001f600", "\\", "ud83d", '"', "a"]), max_size=6)))
def test_events_with_any_mixture_of_halves_and_escapes_come_out_as_they_went_in(texts: list[list[str]]) -> None:
    events = [json.dumps({"userId": "".join(text)}).encode() for text in texts]
    call = read_batch(batch(*events), LIMIT)
    assert (call.events, list(call.broken)) == (events, [])
    for raw in events:
        fault = hidden_fault(raw)
        assert (fault and fault.refusal.label) == (None if is_text(json.loads(raw)["userId"]) else "lone_surrogate")


def is_text(value: str) -> bool:
    try:
        value.encode()
    except UnicodeEncodeError:
        return False
    return True


BROKEN = {
    "not a number": b'{"type":"track","userId":"bad","properties":{"a":NaN,"l":[{"x":1},{"y":2}]}}',
    "single quotes": b"{'type':'track'}",
    "trailing comma": b'{"type":"track","userId":"bad",}',
    "control character": b'{"type":"track","userId":"b\nad"}',
    "bad escape": b'{"type":"track","userId":"b\\xad"}',
    "no end": b'{"type":"track","userId":"bad","properties":{"a":1}',
    "no end of a string": b'{"type":"track","userId":"bad}',
    "an end too many": b'{"type":"track","userId":"bad","properties":[1]]}',
    "a word": b"nonsense",
    "too deep": b'{"type":"track","a":' + b"[" * 3000 + b"]" * 3000 + b"}",
}


@pytest.mark.parametrize("bad", BROKEN.values(), ids=BROKEN)
@pytest.mark.parametrize("place", [0, 1, 3])
def test_the_neighbours_of_a_broken_event_survive(bad: bytes, place: int) -> None:
    events = [*GOOD[:place], bad, *GOOD[place:]]
    call = read_batch(batch(*events), LIMIT)
    assert users(call) == ["u0", "u1", "u2", "u3"]
    assert call.broken
    assert text_of(call.envelope.sent_at) == "2026-11-20T12:00:00Z"
    assert write_key_in(call) == "k"


def test_sound_events_behind_very_many_broken_ones_survive() -> None:
    many = [BROKEN["not a number"]] * 60
    assert users(read_batch(batch(*many, *GOOD), LIMIT)) == ["u0", "u1", "u2", "u3"]


def test_a_body_cut_in_the_middle_keeps_what_came_whole() -> None:
    whole = batch(*GOOD)
    call = read_batch(whole[: whole.index(GOOD[3]) + 30], LIMIT)
    assert users(call) == ["u0", "u1", "u2"]
    assert GOOD[3][:30] in call.broken[0].raw


@pytest.mark.parametrize(
    "body", [b"", b"nonsense", b'{"batch":[', b'{"batch":[{"a":', b'{"batch":7}', b'"text"', b"7", b"null"]
)
def test_a_body_of_which_nothing_can_be_used_is_refused(body: bytes) -> None:
    with pytest.raises(CallRefused) as caught:
        read_batch(body, LIMIT)
    assert caught.value.refusal.label == "body_unreadable"
    assert caught.value.refusal.status == 400


@pytest.mark.parametrize("body", [b"", b"[]", b"{", b'{"a":NaN}'])
def test_a_single_event_that_is_no_object_is_refused(body: bytes) -> None:
    with pytest.raises(CallRefused):
        read_single(body)


def test_plain_events_come_in_an_array_named_events() -> None:
    assert users(read_seed_batch(b'{"events":[' + GOOD[2] + b"]}", LIMIT)) == ["u2"]
    with pytest.raises(CallRefused) as caught:
        read_seed_batch(batch(*GOOD), LIMIT)
    assert caught.value.path == "events"


@settings(max_examples=300)
@given(st.data())
def test_whatever_is_broken_nothing_crashes_and_every_event_given_is_json(data: st.DataObject) -> None:
    body = bytearray(batch(*GOOD))
    for _ in range(data.draw(st.integers(1, 6))):
        at = data.draw(st.integers(0, len(body) - 1))
        match data.draw(st.sampled_from(["flip", "cut", "double"])):
            case "flip":
                body[at] = data.draw(st.integers(0, 255))
            case "cut":
                del body[at : at + data.draw(st.integers(1, 40))]
            case "double":
                body[at:at] = body[at : at + 40]
        if not body:
            return
    try:
        call = read_batch(bytes(body), LIMIT)
    except CallRefused:
        return
    for raw in call.events:
        # bytes that are no UTF-8 are judged event by event, later
        readable = raw.decode(errors="replace")
        assert isinstance(msgspec.json.decode(readable, type=dict[str, msgspec.Raw]), dict)


@settings(max_examples=60)
@given(st.binary(min_size=1, max_size=60), st.integers(0, 4))
def test_any_bytes_between_sound_events_leave_those_before_them_whole(junk: bytes, place: int) -> None:
    events = [*GOOD[:place], junk, *GOOD[place:]]
    try:
        call = read_batch(batch(*events), LIMIT)
    except CallRefused:
        assert place == 0
        return
    kept = [raw for raw in call.events if raw in GOOD]
    assert kept[:place] == GOOD[:place]


@pytest.mark.parametrize(
    "hostile", [b'{"type":"track",' * 30_000, b'{"' + b'\\"' * 30_000], ids=["no ends", "no end of a string of quotes"]
)
def test_a_hostile_body_is_salvaged_in_bounded_time(hostile: bytes) -> None:
    began = time.process_time()
    with pytest.raises(CallRefused):
        read_batch(b'{"batch":[' + hostile + b"]}", LIMIT)
    assert time.process_time() - began < 2
