"""A pool that is still being opened -> nothing of it, when the process stops meanwhile; which failures pass."""

import asyncio
import socket

import pytest
from psycopg import errors

from cdp_runtime.postgres import open_pool, retryable


def workers() -> list[str]:
    return [name for task in asyncio.all_tasks() if (name := task.get_name()).startswith("stopping-worker")]


async def test_opening_that_is_cancelled_leaves_no_worker_behind() -> None:
    with socket.socket() as nobody:
        nobody.bind(("127.0.0.1", 0))  # and does not listen
        opening = asyncio.create_task(
            open_pool(f"postgresql://cdp@127.0.0.1:{nobody.getsockname()[1]}/cdp", name="stopping")
        )
        async with asyncio.timeout(10):
            while not workers():
                await asyncio.sleep(0.01)
        opening.cancel()
        with pytest.raises(asyncio.CancelledError):
            await opening
    assert workers() == []


def test_a_transaction_that_the_server_ended_may_be_done_again() -> None:
    assert retryable(errors.IdleInTransactionSessionTimeout("idle for too long"))
    assert retryable(errors.LockNotAvailable("locked"))
    assert retryable(errors.ReadOnlySqlTransaction("a standby that is not promoted yet"))
    assert not retryable(errors.InvalidTransactionState("no transaction"))
