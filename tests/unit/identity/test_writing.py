"""Changes asked for over HTTP: what the log has no room for is refused before it is sent."""

import pytest

from cdp_eventlog.memory import MemoryLog
from cdp_identity.writing import Change, ProfileWrites
from cdp_runtime.clock import SystemClock
from cdp_runtime.envelope import ApiError
from cdp_schemas.topics import EVENTS_RECEIVED


class Settled:
    """All that was sent is applied."""

    async def is_settled(self, workspace_id: str, message_id: str) -> bool:
        return True


def said(characters: int) -> Change:
    return Change("identify", "ada", {"user_id": "ada"}, {"traits": {"text": "x" * characters}})


async def test_a_change_that_the_log_has_no_room_for_is_not_sent_beside_those_of_others() -> None:
    log = MemoryLog()
    writes = ProfileWrites(log, Settled(), SystemClock(), 1)
    assert (await writes.apply("demo", said(1_000_000)))[1]
    with pytest.raises(ApiError) as refused:
        await writes.apply("demo", said(1_045_000))
    assert refused.value.status == 422
    assert len(log.records(EVENTS_RECEIVED)) == 1
