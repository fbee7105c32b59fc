"""Memberships follow the facts: entered and exited in turn, told once, the same whoever evaluates."""

import asyncio
from dataclasses import replace
from datetime import timedelta
from typing import Any
from uuid import uuid4

import pytest
from psycopg.types.json import Jsonb
from tests.fakes.segmenter import DAY, NAMED, did, profile, profile_id, write_aliases, write_events

from cdp_schemas.profiles import ProfilesRecorded
from cdp_schemas.segments import MembershipChanged
from cdp_segmenter import build, desk, evaluate
from cdp_segmenter.api_models import segment_view
from cdp_segmenter.catalogue import Draft, Segment
from cdp_segmenter.desk import NoSuchSegment
from cdp_segmenter.membership import Place, is_member
from cdp_segmenter.ports import OutOfStep
from cdp_segmenter.rules import nodes
from cdp_segmenter.rules.check import InvalidRule
from cdp_segmenter.stream import together

from .conftest import Room

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse]
RICH = {"field": "computed.ltv", "operator": ">", "value": 100}
BUYERS = {"event": "purchase", "count": {"min": 2}, "window": "P30D"}
ADA, BOB, EVE = profile("ada"), profile("bob"), profile("eve")


def steps(told: list[MembershipChanged]) -> list[tuple[str, int, str]]:
    return [(change.change, change.sequence, change.cause) for change in told]


async def test_a_new_segment_has_all_its_members_and_says_so(room: Room) -> None:
    await room.knows(replace(ADA, ltv_minor=10_001), replace(BOB, ltv_minor=10_000))
    segment_id = await room.segment(RICH)
    segment = await room.desk.get(room.workspace, segment_id)
    assert await room.members(segment_id) == {ADA.profile_id}
    assert (segment.status, segment.progress, segment.size) == ("ready", 1.0, 1)
    assert steps(await room.told()) == [("entered", 1, "definition")]


async def test_an_event_brings_a_profile_in_once(room: Room) -> None:
    await room.knows(ADA, BOB)
    segment_id = await room.segment(BUYERS, type_="behavioral")
    await room.knows(replace(ADA, events=(did("Order Completed"), did("Order Completed"))))
    assert await room.touch([ADA.profile_id, BOB.profile_id], received_at=room.clock.now()) == 1
    assert await room.touch([ADA.profile_id]) == 0
    assert await room.members(segment_id) == {ADA.profile_id}
    (change,) = await room.told()
    assert (change.change, change.cause, change.received_at) == ("entered", "event", room.clock.now())


async def test_leaving_and_coming_back_counts_on(room: Room) -> None:
    await room.segment(RICH)
    for spent in (20_000, 0, 20_000, 20_000):
        await room.knows(replace(ADA, ltv_minor=spent))
        await room.touch([ADA.profile_id])
    assert steps(await room.told()) == [("entered", 1, "event"), ("exited", 2, "event"), ("entered", 3, "event")]


async def test_events_of_all_nodes_of_a_merged_profile_count(room: Room) -> None:
    segment_id = await room.segment(BUYERS)
    await room.knows(*(replace(facts, events=(did("Order Completed"),)) for facts in (ADA, BOB)))
    await room.touch([ADA.profile_id, BOB.profile_id])
    assert await room.members(segment_id) == set()
    await room.move(BOB.profile_id, ADA.profile_id)
    await room.erase(BOB.profile_id)
    await room.touch([ADA.profile_id], gone=[BOB.profile_id])
    assert await room.members(segment_id) == {ADA.profile_id}


async def test_a_profile_of_thousands_of_nodes(room: Room) -> None:
    """More than one bound value holds."""
    segment_id = await room.segment({"event": "purchase", "count": {"min": 4500}})
    names = [profile_id(f"node-{number}") for number in range(4500)]
    await room.knows(replace(ADA, identifiers={NAMED: tuple(map(str, names))}), BOB)
    await write_events(room.store, room.workspace, [(name, did("Order Completed")) for name in names])
    await room.touch([ADA.profile_id, BOB.profile_id])
    assert await room.members(segment_id) == {ADA.profile_id}


async def test_more_profiles_than_one_question_holds(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(nodes, "NODES_PER_QUESTION", 2000)
    segment_id = await room.segment({"event": "purchase", "count": {"min": 2}})
    spent = await room.segment({"event": "purchase", "sum": {"property": "revenue", "min": 10}})
    everyone = [profile(f"one-of-many-{number}") for number in range(2500)]
    buyers = everyone[::500]
    bought = did("Order Completed", DAY, revenue=5)
    await room.knows(*(replace(one, events=(bought, bought) if one in buyers else ()) for one in everyone))
    names = {one.profile_id: (str(one.profile_id), f"{one.profile_id}-too") for one in everyone}
    await room.knows(*(replace(one, identifiers={NAMED: names[one.profile_id]}) for one in everyone))
    await room.touch([one.profile_id for one in everyone])
    expected = {one.profile_id for one in buyers}
    assert (await room.members(segment_id), await room.members(spent)) == (expected, expected)


async def test_a_node_in_two_records_counts_for_the_newer_one(room: Room) -> None:
    """The record of the profile that a node left may come later than that of the one it came to."""
    segment_id = await room.segment(BUYERS)
    names = (str(ADA.profile_id), str(BOB.profile_id))
    await room.knows(ADA, replace(BOB, events=(did("Order Completed"), did("Order Completed"))))
    await room.knows(replace(ADA, identifiers={NAMED: names}))
    await room.touch([ADA.profile_id, BOB.profile_id])
    assert await room.members(segment_id) == {ADA.profile_id}
    await room.knows(replace(BOB, identifiers={NAMED: names[1:]}))
    await room.knows(replace(ADA, identifiers={NAMED: names[:1]}))
    await room.touch([ADA.profile_id, BOB.profile_id])
    assert await room.members(segment_id) == {BOB.profile_id}


async def test_a_profile_whose_node_moved_away_is_looked_at_without_its_events(room: Room) -> None:
    """A message may name a profile after its node has moved: the events count for the other one, who was not named."""
    segment_id = await room.segment(BUYERS)
    spans = await room.segment({"event": "purchase", "first": {"operator": "within_last", "value": "P1D"}})
    totals = await room.segment({"event": "purchase", "sum": {"property": "revenue", "min": 1}})
    bought = did("Order Completed", DAY - timedelta(seconds=5), revenue=5)
    await room.knows(ADA, replace(BOB, events=(bought, bought)))
    await room.touch([BOB.profile_id])
    await room.move(BOB.profile_id, ADA.profile_id)
    await room.touch([BOB.profile_id])
    assert [await room.members(one) for one in (segment_id, spans, totals)] == [set()] * 3


@pytest.mark.parametrize("told", [True, False], ids=["told", "asked for"])
async def test_a_merged_profile_leaves_and_its_manual_memberships_go_on(room: Room, told: bool) -> None:
    """A recorder of an earlier release does not tell where a profile went: then the store knows."""
    await room.knows(replace(ADA, ltv_minor=20_000), replace(BOB, ltv_minor=20_000))
    rich, chosen = await room.segment(RICH), await room.segment(None, type_="manual")
    await room.add(chosen, [BOB.profile_id])
    if not told:
        await room.move(BOB.profile_id, ADA.profile_id)
    await room.erase(BOB.profile_id)
    into = {BOB.profile_id: ADA.profile_id} if told else {}
    await room.touch([ADA.profile_id], gone=[BOB.profile_id], merged_into=into)
    assert await room.members(rich) == {ADA.profile_id}
    assert await room.members(chosen) == {ADA.profile_id}
    assert [c.cause for c in await room.told() if c.profile_id == BOB.profile_id and c.change == "exited"] == [
        "merge"
    ] * 2


async def test_a_manual_membership_follows_somebody_who_was_merged_twice_while_another_is_erased(room: Room) -> None:
    await room.knows(ADA, BOB, EVE, profile("zoe"))
    chosen = await room.segment(None, type_="manual")
    zoe = profile("zoe").profile_id
    await room.add(chosen, [BOB.profile_id, zoe])
    for one in (BOB.profile_id, EVE.profile_id, zoe):
        await room.erase(one)
    into = {BOB.profile_id: EVE.profile_id, EVE.profile_id: ADA.profile_id}
    await room.touch([ADA.profile_id], gone=[*into, zoe], merged_into=into)
    assert await room.members(chosen) == {ADA.profile_id}
    exits = {(c.profile_id, c.cause) for c in await room.told() if c.change == "exited"}
    assert exits == {(BOB.profile_id, "merge"), (zoe, "erased")}


@pytest.mark.parametrize("both", [True, False], ids=["both were members", "only the merged one was"])
@pytest.mark.parametrize("at_once", [1, 100], ids=["in two evaluations", "in one"])
async def test_nobody_inherits_for_somebody_erased_at_once(
    room: Room, both: bool, at_once: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(evaluate, "IDS_PER_QUERY", at_once)
    await room.knows(ADA, BOB)
    chosen = await room.segment(None, type_="manual")
    ada, bob = ADA.profile_id, BOB.profile_id
    await room.add(chosen, [bob, ada] if both else [bob])
    await room.move(bob, ada)
    await room.erase(bob)
    await room.erase(ada)
    merged = ProfilesRecorded(room.workspace, [ada], room.clock.now(), gone=[bob], merged_into={bob: ada})
    erased = ProfilesRecorded(room.workspace, [], room.clock.now(), gone=[ada])
    for touched in together([merged, erased]):
        await room.evaluator.touched(touched)
    assert await room.members(chosen) == set()
    exits = {(c.profile_id, c.cause) for c in await room.told() if c.change == "exited"}
    assert exits == {(bob, "erased"), *([(ada, "erased")] if both else [])}


async def test_somebody_merged_into_one_of_another_evaluation_lives_on_with_the_last(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Who went on from there is told, or where no message told it, in the store."""
    monkeypatch.setattr(evaluate, "IDS_PER_QUERY", 1)
    await room.knows(ADA, BOB, EVE)
    chosen = await room.segment(None, type_="manual")
    ada, bob, eve = ADA.profile_id, BOB.profile_id, EVE.profile_id
    await room.add(chosen, [bob])
    await room.move(eve, ada)
    await room.erase(bob)
    await room.erase(eve)
    await room.touch([ada], gone=[bob, eve], merged_into={bob: eve})
    assert await room.members(chosen) == {ada}


async def test_who_inherits_a_manual_membership_is_looked_at_in_the_segments_that_refer_to_it(room: Room) -> None:
    """Also after the survivor was: the messages of a merge that tell of the two may be read one after the other."""
    await room.knows(ADA, BOB)
    ada, bob = ADA.profile_id, BOB.profile_id
    chosen = await room.segment(None, type_="manual")
    others = await room.segment({"segment": chosen, "operator": "not_in"})
    await room.add(chosen, [bob])
    await room.touch([bob])
    assert await room.members(others) == {ada}
    await room.move(bob, ada)
    await room.erase(bob)
    await room.touch([ada])
    await room.touch([], gone=[bob], merged_into={bob: ada})
    assert (await room.members(chosen), await room.members(others)) == ({ada}, set())


async def test_an_erased_profile_leaves_everything(room: Room) -> None:
    await room.knows(replace(ADA, ltv_minor=20_000))
    rich, chosen = await room.segment(RICH), await room.segment(None, type_="manual")
    await room.add(chosen, [ADA.profile_id])
    await room.erase(ADA.profile_id)
    await room.touch([], gone=[ADA.profile_id])
    assert await room.members(rich) == await room.members(chosen) == set()
    assert {c.cause for c in await room.told() if c.change == "exited"} == {"erased"}


async def test_a_changed_rule_is_a_new_version_and_one_difference(room: Room) -> None:
    await room.knows(replace(ADA, ltv_minor=20_000), replace(BOB, ltv_minor=40_000), replace(EVE, ltv_minor=5_000))
    segment_id = await room.segment(RICH)
    await room.change(segment_id, {"field": "computed.ltv", "operator": "!=", "value": 200})
    assert await room.members(segment_id) == {BOB.profile_id, EVE.profile_id}
    assert (await room.desk.get(room.workspace, segment_id)).version == 2
    second = [c for c in await room.told() if c.segment_version == 2]
    assert {(c.profile_id, c.change) for c in second} == {(ADA.profile_id, "exited"), (EVE.profile_id, "entered")}


async def test_a_deleted_segment_lets_everyone_go(room: Room) -> None:
    await room.knows(replace(ADA, ltv_minor=20_000))
    segment_id = await room.segment(RICH)
    await room.desk.delete(room.workspace, segment_id)
    await room.touch([ADA.profile_id])
    await room.build()
    assert steps(await room.told()) == [("entered", 1, "definition"), ("exited", 2, "definition")]
    assert await room.desk.catalogue.get(room.workspace, segment_id) is None


async def test_members_of_a_deleted_segment_leave_in_steps(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each goes on behind the last one: to look from the first on would be to pass all who left before."""
    monkeypatch.setattr(build, "_EXITS_PER_STEP", 2)
    crowd = [replace(profile(f"p{n}"), ltv_minor=20_000) for n in range(5)]
    await room.knows(*crowd)
    segment_id, stays = await room.segment(RICH), await room.segment(RICH)
    async with room.ledger.session(room.workspace) as session:
        places, after = list[Place](), None
        while some := await session.of_segment(segment_id, 2, after):
            places += some
            after = places[-1].profile_id
    assert sorted(places) == sorted(Place(segment_id, facts.profile_id) for facts in crowd)
    await room.desk.delete(room.workspace, segment_id)
    await room.build()
    exits = [change.profile_id for change in await room.told() if change.change == "exited"]
    assert sorted(exits) == sorted(facts.profile_id for facts in crowd)
    assert len(await room.members(stays)) == 5


async def test_somebody_is_added_to_a_manual_segment_while_it_is_being_deleted(
    room: Room, monkeypatch: pytest.MonkeyPatch
) -> None:
    chosen, desk_ = await room.segment(None, type_="manual"), room.desk
    segment = await desk_.get(room.workspace, chosen)

    async def before_that(*_: str) -> Segment:
        return segment

    await desk_.delete(room.workspace, chosen)
    monkeypatch.setattr(desk_, "get", before_that)
    with pytest.raises(NoSuchSegment):
        await room.add(chosen, [ADA.profile_id])


async def test_a_segment_of_segments_follows_them(room: Room) -> None:
    await room.knows(replace(ADA, ltv_minor=20_000), replace(BOB, ltv_minor=20_000))
    rich, chosen = await room.segment(RICH), await room.segment(None, type_="manual")
    both = await room.segment({"operator": "AND", "conditions": [{"segment": rich}, {"segment": chosen}]})
    await room.add(chosen, [ADA.profile_id])
    await room.sweep.requests()
    assert await room.members(both) == {ADA.profile_id}
    await room.change(rich, {"field": "computed.ltv", "operator": ">", "value": 1000})
    assert await room.members(both) == set()


async def test_a_rule_about_true_that_becomes_one_about_1_moves_those_who_refer_to_it(room: Room) -> None:
    yes, one = replace(ADA, traits={"vip": True}), replace(BOB, traits={"vip": 1})
    await room.knows(yes, one)
    vips = await room.segment({"field": "attributes.vip", "operator": "=", "value": True})
    others = await room.segment({"field": "attributes.vip", "operator": "=", "value": 1})
    same = await room.segment({"segment": vips})
    assert await room.members(vips) == await room.members(same) == {yes.profile_id}
    assert await room.members(others) == {one.profile_id}
    await room.change(vips, {"field": "attributes.vip", "operator": "=", "value": 1})
    assert await room.members(vips) == await room.members(same) == {one.profile_id}
    await room.touch([yes.profile_id, one.profile_id])
    assert await room.members(same) == {one.profile_id}


async def test_a_stored_rule_with_words_that_were_passed_over_keeps_its_members_until_it_is_edited(room: Room) -> None:
    """As an earlier release saved it: "minimum" had no meaning, so once was enough."""
    once, never = replace(ADA, events=(did("Order Completed"),)), BOB
    await room.knows(once, never)
    rules = {"event": "purchase", "count": {"minimum": 5}}
    await room.desk.catalogue.create(room.workspace, "buyers", Draft("buyers", "", "behavioral", rules))
    same = await room.segment({"segment": "buyers"})
    assert await room.members("buyers") == await room.members(same) == {once.profile_id}
    assert segment_view(await room.desk.get(room.workspace, "buyers")).english == 'did "purchase" at least 1 time'
    await room.touch([once.profile_id, never.profile_id])
    assert await room.members("buyers") == await room.members(same) == {once.profile_id}
    with pytest.raises(InvalidRule, match="minimum: this is not known here"):
        await room.change("buyers", rules)
    await room.change("buyers", {"event": "purchase", "count": {"min": 5}})
    assert await room.members("buyers") == await room.members(same) == set()


async def test_who_refers_to_a_rule_of_another_release_keeps_its_members_as_that_one_does(room: Room) -> None:
    """A release that was put back meets rules of the one after it: not to be among nobody would be to be everybody."""
    await room.knows(replace(ADA, ltv_minor=20_000), BOB)
    rich = await room.segment(RICH)
    others = await room.segment({"segment": rich, "operator": "not_in"})
    assert await room.members(others) == {BOB.profile_id}
    change = "UPDATE segmenter.segments SET rules = %s, version = 2 WHERE workspace_id = %s AND segment_id = %s"
    async with room.pool.connection() as connection:
        await connection.execute(change, [Jsonb({"field": "computed.later", "value": 1}), room.workspace, rich])
    await room.touch([ADA.profile_id, BOB.profile_id])
    await room.builder.reconcile(room.workspace, room.clock.now())
    assert (await room.members(rich), await room.members(others)) == ({ADA.profile_id}, {BOB.profile_id})
    with pytest.raises(NoSuchSegment):
        await room.desk.explain(room.workspace, others, BOB.profile_id)
    await room.change(rich, {"field": "computed.ltv", "operator": ">", "value": 1000})
    assert (await room.members(rich), await room.members(others)) == (set(), {ADA.profile_id, BOB.profile_id})


async def test_workers_at_once_tell_every_change_once(room: Room) -> None:
    """Many evaluations of the same profiles while their facts change: the log alternates and ends with the truth."""
    crowd = [profile(f"p{n}") for n in range(20)]
    segment_id = await room.segment(RICH)
    for spent in (20_000, 0, 30_000):
        await room.knows(*(replace(facts, ltv_minor=spent * (n % 2)) for n, facts in enumerate(crowd)))
        await asyncio.gather(*(room.touch([facts.profile_id for facts in crowd]) for _ in range(4)))
    by_profile: dict[object, list[int]] = {}
    for change in await room.told():
        by_profile.setdefault(change.profile_id, []).append(change.sequence)
        assert is_member(change.sequence) is (change.change == "entered")
    assert by_profile == {facts.profile_id: [1, 2, 3] for facts in crowd[1::2]}
    assert await room.members(segment_id) == {facts.profile_id for facts in crowd[1::2]}
    assert (await room.desk.get(room.workspace, segment_id)).size == 10


async def test_many_profiles_at_once_and_many_members_by_hand(room: Room, monkeypatch: pytest.MonkeyPatch) -> None:
    """In several evaluations, each of more ids than one bound value holds."""
    monkeypatch.setattr(evaluate, "IDS_PER_QUERY", 3500)
    crowd = [replace(profile(f"p{n}"), ltv_minor=20_000) for n in range(4500)]
    everyone = [facts.profile_id for facts in crowd]
    await room.knows(*crowd)
    chosen = await room.segment(None, type_="manual")
    both = await room.segment({"operator": "AND", "conditions": [RICH, {"segment": chosen}]})
    await room.add(chosen, everyone[:4200])
    await room.touch(everyone)
    assert (await room.desk.get(room.workspace, both)).size == 4200
    await room.desk.evaluate(room.workspace, both)
    await room.build()
    assert (await room.desk.get(room.workspace, both)).size == 4200
    preview = await room.desk.preview(room.workspace, "rule-based", {"segment": both, "operator": "not_in"}, 5)
    assert (preview.size, len(preview.sample)) == (300, 5)
    monkeypatch.setattr(desk, "MOST_BY_HAND", 4199)
    with pytest.raises(InvalidRule, match=chosen):
        await room.desk.preview(room.workspace, "rule-based", {"segment": both, "operator": "not_in"}, 5)
    other = await room.desk.preview(room.workspace, "rule-based", RICH, 0)
    assert other.size == 4500, "whoever does not ask for the segment does not read its members"


async def test_more_rules_than_one_question_holds(room: Room) -> None:
    """As many conditions on products as a few hundred segments have: 400,000 characters."""

    def bought(segment: int) -> list[dict[str, Any]]:
        return [
            {
                "event": "Order Completed",
                "timeWindow": f"P{1 + number}D",
                "filters": [
                    {
                        "property": "products[]",
                        "operator": "any",
                        "where": [
                            {"property": "category", "operator": "=", "value": f"category {segment}"},
                            {"property": "price", "operator": ">", "value": number},
                        ],
                    }
                ],
            }
            for number in range(30)
        ]

    order = did("Order Completed", products=[{"category": "category 7", "price": 10}, {"category": "category 20"}])
    await room.knows(replace(ADA, events=(order,)), BOB)
    segments = [
        await room.segment({"operator": "OR", "conditions": bought(number)}, built=False) for number in range(30)
    ]
    await room.touch([ADA.profile_id, BOB.profile_id])
    assert [await room.members(one) for one in segments] == [
        {ADA.profile_id} if number == 7 else set() for number in range(30)
    ]
    await room.knows(replace(BOB, events=(order,)))
    await room.builder.reconcile(room.workspace, room.clock.now())
    everyone = {ADA.profile_id, BOB.profile_id}
    assert [await room.members(one) for one in segments] == [everyone if number == 7 else set() for number in range(30)]


async def test_a_worker_that_is_out_of_step_writes_nothing(room: Room) -> None:
    segment_id = await room.segment(RICH)
    await room.knows(replace(ADA, ltv_minor=20_000))
    await room.touch([ADA.profile_id])
    (entered,) = await room.told()
    with pytest.raises(OutOfStep):
        async with room.ledger.session(room.workspace) as session:
            await session.apply([entered.alone()])
    assert len(await room.told()) == 1
    assert await room.members(segment_id) == {ADA.profile_id}


async def test_a_session_tells_of_those_alone_who_are_asked_for(room: Room) -> None:
    segment_id = await room.segment(RICH)
    await room.knows(replace(ADA, ltv_minor=20_000), replace(BOB, ltv_minor=20_000))
    await room.touch([ADA.profile_id, BOB.profile_id])
    async with room.ledger.session(room.workspace) as session:
        assert await session.inside([BOB.profile_id, ADA.profile_id]) == {segment_id: 0b11}
        assert await session.inside([ADA.profile_id]) == {segment_id: 0b1}
        assert await session.of_profiles([BOB.profile_id]) == {Place(segment_id, BOB.profile_id): 1}
    await room.knows(replace(BOB, ltv_minor=0))
    await room.touch([BOB.profile_id])
    async with room.ledger.session(room.workspace) as session:
        assert await session.inside([BOB.profile_id, ADA.profile_id]) == {segment_id: 0b10}


async def test_reconciliation_heals_what_a_lost_message_missed(room: Room) -> None:
    segment_id = await room.segment(RICH)
    await room.knows(replace(ADA, ltv_minor=20_000), replace(BOB, ltv_minor=20_000))
    await room.touch([BOB.profile_id])
    await room.erase(BOB.profile_id)
    await room.builder.reconcile(room.workspace, room.clock.now())
    assert await room.members(segment_id) == {ADA.profile_id}


async def test_workspaces_do_not_see_one_another(room: Room) -> None:
    other = Room(room.pool, room.statements, room.store)
    mine, theirs = await room.segment(RICH), await other.segment(RICH)
    await room.knows(replace(ADA, ltv_minor=20_000, events=(did("Order Completed", DAY),)))
    await other.touch([ADA.profile_id])
    await room.touch([profile_id("ada")])
    assert (await room.members(mine), await other.members(theirs)) == ({ADA.profile_id}, set())


async def test_more_merged_profiles_than_one_bound_value_holds(room: Room) -> None:
    merged, heir = [uuid4() for _ in range(5000)], uuid4()
    await write_aliases(room.store, room.workspace, [(one, heir) for one in merged], 1)
    assert await room.crowd.survivors(room.workspace, merged) == dict.fromkeys(merged, heir)
