"""Pauses grow, are capped, and a call is repeated until it succeeds."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cdp_runtime.backoff import Backoff, retry_forever


@given(st.integers(0, 10_000))
def test_a_pause_stays_between_zero_and_its_cap(attempt: int) -> None:
    assert 0 <= Backoff(0.2, 5.0).delay(attempt) <= min(5.0, 0.2 * 2.0 ** min(attempt, 30))


async def test_transient_failures_are_repeated_and_others_raised() -> None:
    seen: list[str] = []
    failures = iter([ConnectionError("a"), ConnectionError("b"), None])

    async def call() -> str:
        failure = next(failures)
        if failure is not None:
            raise failure
        return "done"

    backoff = Backoff(0.0, 0.0)
    waits = lambda error, pause: seen.append(str(error))  # noqa: E731
    assert await retry_forever(call, transient=(ConnectionError,), on_wait=waits, backoff=backoff) == "done"
    assert seen == ["a", "b"]

    async def broken() -> None:
        raise ValueError("a bug")

    with pytest.raises(ValueError, match="a bug"):
        await retry_forever(broken, transient=(ConnectionError,), on_wait=waits, backoff=backoff)
