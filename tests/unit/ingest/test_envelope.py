"""Fields go under or beside what an object has, and the rest of its bytes is not touched."""

import json

import pytest
from msgspec import Raw

from cdp_ingest.envelope import field, merged_under, with_absent
from cdp_ingest.rudder import traits_of


def test_the_upper_object_wins_field_by_field() -> None:
    merged = merged_under(b'{"app":{"name":"low"},"locale":"de"}', b'{"app":{"name":"high"},"ip":"1.1.1.1"}')
    assert json.loads(merged) == {"app": {"name": "high"}, "locale": "de", "ip": "1.1.1.1"}


def test_an_empty_side_leaves_the_other_as_it_is() -> None:
    odd = b'{"a" :  1.50 }'
    assert merged_under(b"{}", odd) is odd
    assert merged_under(odd, b"{}") is odd


@pytest.mark.parametrize(
    ("raw", "expected"),
    [
        (b"{}", {"ip": "9.9.9.9", "userAgent": "me"}),
        (b"{ }", {"ip": "9.9.9.9", "userAgent": "me"}),
        (b"{\r\n\t\n}", {"ip": "9.9.9.9", "userAgent": "me"}),
        (b'{"a":1}', {"ip": "9.9.9.9", "userAgent": "me", "a": 1}),
        (b'{"ip":"1.1.1.1"}', {"userAgent": "me", "ip": "1.1.1.1"}),
        (b'{"ip":null,"userAgent":"x"}', {"ip": "9.9.9.9", "userAgent": "x"}),
        (b'{"device":{"ip":"1.1.1.1"}}', {"ip": "9.9.9.9", "userAgent": "me", "device": {"ip": "1.1.1.1"}}),
        (b'{"\\u0069p":"1.1.1.1"}', {"userAgent": "me", "ip": "1.1.1.1"}),
        (b'{"ip":"1.1.1.1","userAgent":"x"}', {"ip": "1.1.1.1", "userAgent": "x"}),
    ],
)
def test_only_what_is_absent_is_added(raw: bytes, expected: dict[str, object]) -> None:
    added = with_absent(raw, {"ip": "9.9.9.9", "userAgent": "me"})
    assert json.loads(added) == expected
    assert len(json.loads(added, object_pairs_hook=list)) == len(expected)


def test_the_bytes_of_other_fields_pass_through() -> None:
    assert with_absent(b'{"price": 1.500}', {"name": "Home"}) == b'{"name":"Home","price": 1.500}'


def test_a_field_is_found_at_the_top_only() -> None:
    assert field(b'{"a":{"b":1}}', "b") is None
    assert bytes(field(b'{"a":{"b":1}}', "a") or b"") == b'{"b":1}'
    assert field(b'{"a":null}', "a") is None


def test_rudders_traits_of_an_identify_are_in_the_context() -> None:
    context = b'{"traits":{"email":"a@x.de"}}'

    def traits(call: str, given: bytes, context: bytes) -> bytes:
        return bytes(traits_of(call, Raw(given), context))

    assert traits("identify", b"{}", context) == b'{"email":"a@x.de"}'
    assert traits("identify", b'{"email":"b@x.de"}', context) == b'{"email":"b@x.de"}'
    assert traits("identify", b"{\n}", context) == b'{"email":"a@x.de"}'
    assert traits("track", b"{}", context) == b"{}"
    assert traits("identify", b"{}", b'{"traits":"none"}') == b"{}"
