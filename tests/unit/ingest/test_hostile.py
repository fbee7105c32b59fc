"""What JSON may hide is found, sound JSON is let through, and the quick look misses nothing of the exact one."""

import json
import math
from typing import Any

import msgspec
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from cdp_ingest.hostile import MAX_DEPTH, hidden_fault, is_suspicious, may_be_deep


def deep(levels: int, opening: str = "[", closing: str = "]") -> bytes:
    return b'{"a":' + (opening * levels + "1" + closing * levels).encode() + b"}"


FAULTS = {
    b'{"a":"x\\u0000y"}': "nul_character",
    b'{"a":"\\\\\\u0000"}': "nul_character",
    b'{"\\u0000":1}': "nul_character",
    b'{"a":"\\ud800"}': "lone_surrogate",
    b'{"a":"\\uDC00x"}': "lone_surrogate",
    b'{"a":"\xff"}': "invalid_utf8",
    b'{"a":"\xc3("}': "invalid_utf8",
    b'{"a":1e999}': "number_out_of_range",
    b'{"a":-1E+400}': "number_out_of_range",
    b'{"a":[1, 1e-999999999]}': "number_out_of_range",
    b'{"a": 18446744073709551616}': "number_out_of_range",
    b'{"a":-9223372036854775809}': "number_out_of_range",
    b'{"a":' + b"7" * 300 + b"}": "number_out_of_range",
    b'{"a":' + b"7" * 5000 + b"}": "number_out_of_range",
    b'{"a":0.' + b"3" * 300 + b"}": "number_out_of_range",
    deep(MAX_DEPTH): "too_deep",
    deep(10_000): "too_deep",
    deep(MAX_DEPTH, '{"k":', "}"): "too_deep",
}
SOUND = [
    b'{"a":"\\\\u0000"}',
    b'{"a":"\\ud83d\\ude00"}',
    '{"a":"grüße 😀"}'.encode(),
    b'{"a":1e300,"b":-1.5E-300,"c":18446744073709551615,"d":-9223372036854775808}',
    b'{"a":0.1234567890123456789012345}',
    b'{"a":"1e999 99999999999999999999999 [[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[[["}',
    b'{"a":"\\"]}{["}',
    deep(MAX_DEPTH - 1),
    b"{}",
]


@pytest.mark.parametrize(("event", "label"), FAULTS.items(), ids=[f"{k[:24]!r}" for k in FAULTS])
def test_each_hidden_fault_is_named(event: bytes, label: str) -> None:
    assert is_suspicious(event) or may_be_deep(event)
    fault = hidden_fault(event)
    assert fault is not None
    assert fault.refusal.label == label


@pytest.mark.parametrize("event", SOUND, ids=[f"{e[:24]!r}" for e in SOUND])
def test_sound_events_are_let_through(event: bytes) -> None:
    assert hidden_fault(event) is None


def test_ordinary_events_need_no_closer_look() -> None:
    event = {
        "messageId": "5e5b1f0e-01e7-4e00-9e00-0e0001e10e00",
        "timestamp": "2026-11-20T16:00:00.123+00:00",
        "anonymousId": "1234567890.1795176000000",
        "properties": {"price": 124.995, "quantity": 2, "id": 1795176000000, "list": [1, 2.5, -3]},
        "context": {"ids": ["ajs-1795176000000-12345678-9012", "2026-11-20-00000000012345"]},
    }
    assert not is_suspicious(json.dumps(event).encode())
    assert not is_suspicious(json.dumps(event, separators=(",", ":"), ensure_ascii=False).encode())


values: st.SearchStrategy[Any] = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**70), 2**70) | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=12,
)


def holds(value: Any) -> str | None:
    """The plain reading of the same rule: what kind of fault a decoded value holds."""
    match value:
        case str():
            return "nul_character" if "\0" in value else None
        case bool() | None:
            return None
        case int():
            return None if -(2**63) <= value < 2**64 else "number_out_of_range"
        case float():
            small = value == 0 or 1e-300 <= abs(value) < 1e301
            return None if math.isfinite(value) and small else "number_out_of_range"
        case list():
            return next((kind for item in value if (kind := holds(item))), None)
        case dict():
            return next((kind for item in (*value, *value.values()) if (kind := holds(item))), None)
    raise AssertionError(value)


@given(st.dictionaries(st.text(max_size=4), values, max_size=4), st.booleans(), st.sampled_from([None, 2]))
@example({"": 1e-305}, True, None)
def test_the_quick_look_misses_nothing_and_the_exact_one_agrees_with_plain_python(
    event: dict[str, Any], ascii_only: bool, indent: int | None
) -> None:
    raw = json.dumps(event, ensure_ascii=ascii_only, indent=indent).encode("utf-8", "surrogatepass")
    fault = hidden_fault(raw) if b"Infinity" not in raw else None
    if fault is not None:
        assert is_suspicious(raw) or may_be_deep(raw)
    if b"Infinity" not in raw:
        assert (fault is not None) == (holds(event) is not None)


@given(st.binary(max_size=60))
def test_no_bytes_make_it_fail_and_what_passes_can_be_read(raw: bytes) -> None:
    if hidden_fault(raw) is None:
        msgspec.json.decode(raw)
