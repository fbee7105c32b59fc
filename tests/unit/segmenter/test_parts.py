"""A full evaluation is cut so that no part holds more memberships than fit into a process's memory."""

from typing import Any, cast

import pytest

from cdp_runtime.clock import SystemClock
from cdp_segmenter.build import PLACES_PER_PART, PROFILES_PER_PART, Builder
from cdp_segmenter.ports import Crowd
from cdp_segmenter.rules.scope import BUCKETS

NOBODY = cast(Any, None)


class Count:
    def __init__(self, profiles: int) -> None:
        self._profiles = profiles

    async def count(self, workspace_id: str) -> int:
        return self._profiles


async def parts(profiles: int, segments: int) -> list[tuple[int, int]]:
    builder = Builder(NOBODY, NOBODY, cast(Crowd, Count(profiles)), NOBODY, SystemClock())
    return await builder._parts("w", segments)


@pytest.mark.parametrize("profiles", [0, 1, 4_000, 50_001, 1_000_000])
@pytest.mark.parametrize("segments", [1, 10, 100, 5_000])
async def test_no_part_is_larger_than_it_may_be_and_none_is_missing(profiles: int, segments: int) -> None:
    found = await parts(profiles, segments)
    assert [bucket for first, last in found for bucket in range(first, last + 1)] == list(range(BUCKETS))
    each = profiles / len(found)
    assert len(found) == BUCKETS or (each <= PROFILES_PER_PART and each * segments <= PLACES_PER_PART)


async def test_few_profiles_are_one_part_and_no_segments_are_none() -> None:
    assert len(await parts(4_000, 100)) == 1
    assert await parts(4_000, 0) == []
