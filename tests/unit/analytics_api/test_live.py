"""Listeners get what they asked for; slow ones lose the oldest and are told."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from uuid import UUID

from cdp_analytics_api.event_view import EventView
from cdp_analytics_api.live import STOPPED, Interest, Listeners
from cdp_analytics_api.ports import OnEvents
from cdp_analytics_api.stream import LiveStream
from cdp_schemas.events import IdentifiedEvent
from cdp_schemas.profiles import profile_ref

ADA, BOB = UUID(int=1), UUID(int=2)
NOW = datetime(2026, 2, 15, tzinfo=UTC)


def view(number: int, kind: str = "custom", profile: UUID = ADA) -> EventView:
    return EventView(
        id=str(number),
        profile_id=profile_ref(profile),
        type=kind,
        event=f"Event {number}",
        call="track",
        timestamp=NOW,
        received_at=NOW,
        source="web",
        properties={},
        traits={},
        context={},
    )


async def test_a_slow_listener_keeps_the_newest_and_learns_what_it_missed() -> None:
    listeners = Listeners(buffer=3)
    slow = listeners.add(Interest("acme"))
    listeners.publish("acme", [view(number) for number in range(10)], {})
    delivery = await slow.next(1)
    assert ([event.id for event in delivery.events], delivery.dropped) == (["7", "8", "9"], 7)
    listeners.publish("acme", [view(10)], {})
    delivery = await slow.next(1)
    assert ([event.id for event in delivery.events], delivery.dropped) == (["10"], 0)


async def test_listeners_see_only_their_workspace_and_interest() -> None:
    listeners = Listeners(buffer=10)
    purchases = listeners.add(Interest("acme", type="purchase"))
    named = listeners.add(Interest("acme", names=frozenset({"Event 2"})))
    of_one = listeners.add(Interest("acme", profile=BOB))
    rival = listeners.add(Interest("rival"))
    listeners.publish("acme", [view(1, "purchase"), view(2), view(3, profile=BOB)], {})
    for listener, expected in ((purchases, ["1"]), (named, ["2"]), (of_one, ["3"]), (rival, [])):
        delivery = await listener.next(0.01)
        assert [event.id for event in delivery.events] == expected


async def test_presence_tells_whether_anybody_listens() -> None:
    listeners = Listeners(buffer=1)
    assert listeners.absent.is_set()
    first, second = listeners.add(Interest("acme")), listeners.add(Interest("rival"))
    assert listeners.workspaces() == {"acme", "rival"}
    listeners.remove(first)
    assert listeners.present.is_set()
    listeners.remove(second)
    assert listeners.absent.is_set() and not listeners.present.is_set()


async def test_closing_wakes_every_listener() -> None:
    listeners = Listeners(buffer=1)
    listener = listeners.add(Interest("acme"))
    waiting = asyncio.create_task(listener.next(30))
    await asyncio.sleep(0)
    listeners.close()
    await asyncio.wait_for(waiting, 1)
    assert listener.ending == STOPPED and listener.ended.is_set()


class Merged:
    """One event of Bob's, to whose profile Ada's was merged."""

    async def follow(self, on_events: OnEvents, ready: object) -> None:
        event = IdentifiedEvent(
            workspace_id="acme",
            source_id="web",
            message_id="m",
            type="track",
            event="Order",
            received_at=NOW,
            timestamp=NOW,
            node_id=BOB,
            received_partition=0,
            received_offset=0,
            outcome="stored",
        )
        await on_events([event])
        await asyncio.Event().wait()

    async def profiles_of(self, workspace_id: str, nodes: Sequence[UUID]) -> Mapping[UUID, UUID]:
        return {node: BOB if node == ADA else node for node in nodes}


async def test_who_listens_to_a_profile_goes_on_when_it_becomes_part_of_another() -> None:
    listeners, merged = Listeners(buffer=10), Merged()
    of_ada, of_someone = (
        listeners.add(Interest("acme", profile=ADA)),
        listeners.add(Interest("acme", profile=UUID(int=3))),
    )
    running = asyncio.create_task(LiveStream(merged, listeners, merged).run())
    assert [(event.event, event.profile_id) for event in (await of_ada.next(10)).events] == [
        ("Order", profile_ref(BOB))
    ]
    assert (await of_someone.next(0.01)).events == []
    running.cancel()
