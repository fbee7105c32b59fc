"""A batch is cut at its delete calls, and nowhere else."""

import pytest

from cdp_identity.resolve import pieces

from .received import event, record

LIKE_A_DELETE = {"type": "delete", "deep": [{"type": "delete"}]}


def cut(*events):
    found = pieces([record(one, offset) for offset, one in enumerate(events)])
    return [[one.offset for one in piece] for piece in found]


def test_each_delete_call_is_alone() -> None:
    delete = event("delete", profile_id="profile-1", channel="api")
    assert cut(event(), delete, delete, event(), event()) == [[0], [1], [2], [3, 4]]
    assert cut(delete) == [[0]]


@pytest.mark.parametrize("where", ["properties", "traits", "context"])
def test_events_that_only_speak_of_a_delete_stay_in_their_batch(where: str) -> None:
    plain = event(user_id="ada")
    speaking = event("identify", user_id="ada", **{where: LIKE_A_DELETE})
    assert cut(plain, speaking, plain, speaking) == [[0, 1, 2, 3]]


def test_a_delete_call_that_carries_something_is_one() -> None:
    assert cut(event(), event("delete", user_id="ada", properties={"type": "track"})) == [[0], [1]]


def test_bytes_that_are_no_event_cut_nothing() -> None:
    assert cut(event(), b'{"type":"delete",', b'{"type":"delete"\xff}', event()) == [[0, 1, 2, 3]]
