"""Messages of one batch become one evaluation per workspace, and no workspace holds up another."""

from datetime import UTC, datetime, timedelta
from uuid import UUID

import pytest

from cdp_clickhouse.errors import StoreRefused, StoreUnavailable
from cdp_eventlog.log import Partition, Record
from cdp_runtime.clock import ManualClock
from cdp_schemas.codec import encode
from cdp_schemas.profiles import ProfilesRecorded
from cdp_segmenter.evaluate import Touched
from cdp_segmenter.stream import RecordedStream, together

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


class Heavy:
    """An evaluator that may not ask about the profiles of one workspace, and the agenda that is told."""

    def __init__(self, error: Exception) -> None:
        self.error = error
        self.looked: list[tuple[str, frozenset[UUID], frozenset[UUID], bool]] = []
        self.overdue_ones: list[str] = []

    async def touched(self, touched: Touched, *, looks: bool = True) -> int:
        if touched.workspace_id == "heavy" and looks:
            raise self.error
        self.looked.append((touched.workspace_id, touched.profiles, touched.gone, looks))
        return 1

    async def overdue(self, workspace_id: str) -> None:
        self.overdue_ones.append(workspace_id)


def records(*messages: ProfilesRecorded) -> list[Record]:
    return [
        Record(Partition("profiles-recorded", 0), offset, b"", encode(message), 0)
        for offset, message in enumerate(messages)
    ]


@pytest.mark.parametrize("error", [StoreRefused("AST is too big", 168), RecursionError("too deep")])
async def test_what_cannot_be_asked_about_a_workspace_holds_up_nothing(error: Exception) -> None:
    """What is not acknowledged keeps all that is behind it in the log from being, until no more is taken from it."""
    world, told = Heavy(error), list[None]()
    stream = RecordedStream(world, world, lambda: told.append(None), ManualClock(NOW))  # type: ignore[arg-type]
    await stream.handle(records(recorded("heavy", [ADA], [BOB]), recorded("light", [ADA], [])))
    assert world.overdue_ones == ["heavy"]
    assert world.looked == [("heavy", frozenset(), {BOB}, False), ("light", {ADA}, frozenset(), True)]
    assert len(told) == 2


async def test_while_a_store_is_away_the_batch_is_repeated() -> None:
    world = Heavy(StoreUnavailable("away"))
    stream = RecordedStream(world, world, lambda: None, ManualClock(NOW))  # type: ignore[arg-type]
    with pytest.raises(StoreUnavailable):
        await stream.handle(records(recorded("heavy", [ADA], [])))
    assert not world.overdue_ones
