"""A reconciliation leaves the stores to live changes most of the time, and yet comes to its end."""

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from cdp_runtime.clock import ManualClock
from cdp_segmenter import build
from cdp_segmenter.build import PROFILES_PER_PART, Builder
from cdp_segmenter.definitions import Definition, Definitions
from cdp_segmenter.rules.parse import parse
from tests.fakes.segmenter import NOW

PART_S = 2.0
RULE = parse({"field": "computed.ltv", "operator": ">", "value": 100})


class World:
    """Four parts of one segment; each takes two seconds."""

    def __init__(self) -> None:
        self.clock, self.parts = ManualClock(NOW), 0
        self.reconciled_at: datetime | None = None

    async def part(self, *_: Any) -> None:
        self.parts += 1
        self.clock.advance(timedelta(seconds=PART_S))

    @asynccontextmanager
    async def session(self, _: str) -> AsyncIterator[Any]:
        async def definitions() -> Definitions:
            return Definitions.of([Definition("segment-1", 1, RULE)])

        yield SimpleNamespace(definitions=definitions)

    async def count(self, _: str) -> int:
        return 4 * PROFILES_PER_PART

    async def reconciled(self, _: str, last: datetime, at: datetime) -> None:
        self.reconciled_at = at


@pytest.mark.parametrize(("within", "rest"), [(0.0, 0.0), (3600.0, 4 * PART_S), (8.0, 2.0)])
async def test_a_reconciliation_rests_after_each_part(
    monkeypatch: pytest.MonkeyPatch, within: float, rest: float
) -> None:
    world, rests = World(), []

    async def sleep(seconds: float) -> None:
        rests.append(seconds)

    monkeypatch.setattr(build, "asyncio", SimpleNamespace(sleep=sleep))
    builder = Builder(world, world, world, world, world.clock)  # type: ignore[arg-type]
    await builder.reconcile("demo", NOW, within=within)
    assert (world.parts, rests) == (4, [rest] * 4)
    assert world.reconciled_at is not None
