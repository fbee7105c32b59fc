"""What people change while calls are under way: it counts for the next call, and is not undone by the last one."""

import asyncio
import json
from typing import Any

import pytest

from cdp_activation.deliver import Deliverer
from cdp_activation.destinations.destination import HttpRequest, HttpResponse

from .conftest import World, until

pytestmark = pytest.mark.postgres


class Receiver:
    """A webhook's other side, which lets its first call wait."""

    def __init__(self) -> None:
        self.called, self.may_answer = asyncio.Event(), asyncio.Event()
        self.told: list[str] = []

    async def send(self, request: HttpRequest) -> HttpResponse:
        self.told += [member["profileId"] for member in json.loads(request.body)["data"]["members"]]
        self.called.set()
        await self.may_answer.wait()
        return HttpResponse(204, {}, b"")


async def idle(deliverer: Deliverer) -> bool:
    return not deliverer._tasks


@pytest.mark.parametrize("change", ["enabled = false", "deleted_at = now()"])
async def test_a_destination_that_is_switched_off_takes_no_more_calls_however_many_wait(
    world: World, change: str
) -> None:
    destination, receiver = await world.destination("webhook", batchSize=1), Receiver()
    await world.audience(destination)
    await world.enter(*[world.person(f"p{n}") for n in range(5)])
    async with world.working(receiver, rows_per_round=1) as deliverer:
        await receiver.called.wait()
        await world.execute(f"UPDATE activation.destinations SET {change} WHERE destination_id = %s", [destination])
        receiver.may_answer.set()
        await until(lambda: idle(deliverer))
    assert len(receiver.told) == 1


async def test_a_consent_that_a_destination_asks_for_by_now_is_asked_for_at_the_next_call(world: World) -> None:
    destination, receiver = await world.destination("webhook", batchSize=1), Receiver()
    await world.audience(destination)
    await world.enter(*[world.person(f"p{n}", consent={"ads": False}) for n in range(5)])
    async with world.working(receiver, rows_per_round=1):
        await receiver.called.wait()
        stricter: dict[str, Any] = {"consentPurposes": ["ads"]}
        await world.execute(
            "UPDATE activation.destinations SET settings = settings || %s::jsonb WHERE destination_id = %s",
            [json.dumps(stricter), destination],
        )
        receiver.may_answer.set()
        await world.settled()
    assert len(receiver.told) == 1
