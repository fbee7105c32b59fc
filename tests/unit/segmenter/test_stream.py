"""Messages of one batch become one evaluation per workspace."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

from cdp_schemas.profiles import ProfilesRecorded
from cdp_segmenter.stream import together

NOW = datetime(2026, 11, 20, tzinfo=UTC)
ADA, BOB = UUID(int=1), UUID(int=2)


def recorded(
    workspace: str, profiles: list[UUID], gone: list[UUID], ago: int | None = None, into: dict[UUID, UUID] | None = None
) -> ProfilesRecorded:
    received = None if ago is None else NOW - timedelta(seconds=ago)
    return ProfilesRecorded(workspace, profiles, NOW, gone, received, into or {})


def test_workspaces_stay_apart_and_the_oldest_arrival_counts() -> None:
    found = together([recorded("a", [ADA], [], 5), recorded("b", [BOB], []), recorded("a", [BOB], [], 9)])
    assert [(one.workspace_id, one.profiles, one.received_at) for one in found] == [
        ("a", {ADA, BOB}, NOW - timedelta(seconds=9)),
        ("b", {BOB}, None),
    ]


def test_the_last_word_on_a_profile_counts() -> None:
    (left,) = together([recorded("a", [ADA, BOB], []), recorded("a", [BOB], [ADA])])
    assert (left.profiles, left.gone) == ({BOB}, {ADA})
    (back,) = together([recorded("a", [], [ADA]), recorded("a", [ADA], [])])
    assert (back.profiles, back.gone) == ({ADA}, set())


def test_where_a_merged_profile_went_is_known_until_something_else_becomes_of_it() -> None:
    merged = recorded("a", [], [ADA], into={ADA: BOB})
    (one,) = together([merged, recorded("a", [BOB], [])])
    assert (one.gone, one.merged_into) == ({ADA}, {ADA: BOB})
    (back,) = together([merged, recorded("a", [ADA], [])])
    assert (back.gone, back.merged_into) == (set(), {})
    (erased,) = together([merged, recorded("a", [ADA], []), recorded("a", [], [ADA])])
    assert (erased.gone, erased.merged_into) == ({ADA}, {})
