"""What cannot be done for one workspace is told and tried again, less and less often; the others do not wait for it."""

from datetime import timedelta

import pytest

from cdp_clickhouse.errors import StoreRefused, StoreUnavailable
from cdp_runtime.clock import ManualClock
from cdp_runtime.metrics import SEGMENTER_REFUSED
from cdp_segmenter.apart import Apart
from cdp_segmenter.ports import OutOfStep
from tests.fakes.segmenter import NOW

SECOND = timedelta(seconds=1)
TOO_BIG = StoreRefused("AST is too big", 168)


class Work:
    """Fails for one workspace."""

    def __init__(self, error: Exception | None) -> None:
        self.error, self.done = error, list[str]()

    async def __call__(self, workspace_id: str, many: int) -> int:
        self.done.append(workspace_id)
        if workspace_id == "heavy" and self.error is not None:
            raise self.error
        return many


@pytest.mark.parametrize("error", [TOO_BIG, OutOfStep("change 1 follows 1"), RecursionError("too deep")])
async def test_the_others_are_done(error: Exception) -> None:
    work, before = Work(error), SEGMENTER_REFUSED.labels("build")._value.get()
    assert await Apart("build", ManualClock(NOW)).each({"heavy": 1, "light": 3}, work) == 3
    assert work.done == ["heavy", "light"]
    assert SEGMENTER_REFUSED.labels("build")._value.get() == before + 1


async def test_what_is_down_for_all_ends_the_round() -> None:
    with pytest.raises(StoreUnavailable):
        await Apart("build", ManualClock(NOW)).each({"heavy": 1, "light": 3}, Work(StoreUnavailable("away")))


async def test_a_refused_workspace_is_tried_less_and_less_often_until_it_succeeds() -> None:
    clock, work = ManualClock(NOW), Work(TOO_BIG)
    apart = Apart("build", clock)
    tried = []
    for second in range(1000):
        count = len(work.done)
        await apart.each({"heavy": 1}, work)
        if len(work.done) > count:
            tried.append(second)
        assert list(apart.resting()) == ["heavy"]
        clock.advance(SECOND)
    assert tried == [0, 5, 15, 35, 75, 155, 315, 615, 915]
    work.error = None
    clock.advance(300 * SECOND)
    assert await apart.each({"heavy": 1}, work) == 1
    work.error = TOO_BIG
    assert await apart.each({"heavy": 1}, work) == 0
    clock.advance(5 * SECOND)
    assert not apart.resting()


async def test_a_refusal_is_forgotten_with_the_work() -> None:
    clock, work = ManualClock(NOW), Work(TOO_BIG)
    apart = Apart("build", clock)
    for _ in range(4):
        await apart.each({"heavy": 1}, work)
        clock.advance(300 * SECOND)
    await apart.each({}, work)
    await apart.each({"heavy": 1}, work)
    clock.advance(5 * SECOND)
    assert not apart.resting()
