"""What is measured is right, or there is no figure: each way of being quick and wrong ends a row."""

import math
from types import SimpleNamespace
from typing import Any
from uuid import UUID

import pytest
from bench import __main__ as command
from bench import audience, expiry, gateway, incremental, load, pipeline, proved, questions, recovery, segments
from bench.answers import PAGE, require_found, require_profile
from bench.gateway import P2, Side
from bench.load import Result
from bench.openloop import Offered
from bench.proved import Proof
from bench.stages import SERVICES
from bench.target import Target, at_most, times_bare

from cdp_schemas.profiles import profile_ref


def side(*written: int) -> Side:
    """A gateway whose log has so many records each time that it is asked."""
    told = iter(written)
    return Side("ours", 1, [], lambda: next(told))


def test_a_gateway_that_answers_and_writes_nothing_has_no_rate(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load, "run", lambda *_: Result(answers=7, failures=0, seconds=1.0, cpu_seconds=0.1))
    assert gateway._round(side(1000, 1700), 0, [], P2).rate == 700
    for written, given in ((1000, 0), (1699, 699), (1701, 701)):
        with pytest.raises(RuntimeError, match=f"700 events were answered 200, and the log was given {given}"):
            gateway._round(side(1000, written), 0, [], P2)


def test_a_dead_process_holds_no_memory_and_is_no_good_figure() -> None:
    memory = {**dict.fromkeys(SERVICES, 10), "kafka": 1000}
    assert pipeline.held(memory) == 60
    with pytest.raises(AssertionError, match="no process segmenter runs"):
        pipeline.held({name: size for name, size in memory.items() if name != "segmenter"})


@pytest.mark.parametrize("code", [1, 3])
def test_what_the_proof_finds_wrong_or_could_not_look_at_ends_the_row(
    code: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole: Any = None
    monkeypatch.setattr(proved, "proof", lambda _: Proof(0, "16 of 16 invariants hold"))
    proved.require_right(whole)
    monkeypatch.setattr(proved, "proof", lambda _: Proof(code, "I8 a member who should not be one"))
    with pytest.raises(AssertionError, match=f"ended with {code}:\nI8 a member"):
        proved.require_right(whole)


@pytest.mark.parametrize("baseline", [0.0, math.inf, -1.0, math.nan])
def test_beside_a_baseline_that_never_came_nothing_is_good(baseline: float) -> None:
    row = Target("P20", "beside a flood", "s", release=times_bare(1.3), floor=times_bare(5), how="").row
    assert row(3.0, 1.0).floor_met and not row(math.inf, 1.0).floor_met
    with pytest.raises(ValueError, match="P20: beside a baseline"):
        row(3.0, baseline)


@pytest.mark.parametrize(("value", "code"), [(2.0, 0), (math.inf, 1)])
def test_a_row_that_never_came_ends_the_run_with_one(value: float, code: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """One that is slow is a figure."""
    target = Target("P15", "flips", "s", release=at_most(1, "s"), floor=at_most(1, "s"), how="")
    monkeypatch.setattr(command, "_is_quiet", lambda _: True)
    monkeypatch.setattr(command, "_measured", lambda *_, **__: [[target.row(value)]])
    monkeypatch.setattr(command.report, "save", lambda _: None)
    assert command.main(["P15"]) == code


def test_the_destination_has_each_member_under_an_address_of_their_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(audience, "MEMBERS", 3)
    there = [dict(zip(("profileId", "email"), audience._member(number), strict=True)) for number in (1, 2, 3)]
    audience.require_members(there)
    twice, swapped = [*there[:2], there[0]], [*there[:2], {**there[2], "email": "member1@example.com"}]
    for wrong in (there[:2], twice, swapped):
        with pytest.raises(AssertionError, match="1 members not"):
            audience.require_members(wrong)


def test_who_is_still_to_expire_is_a_member(monkeypatch: pytest.MonkeyPatch) -> None:
    def until(what: str, ask: Any, good: Any, seconds: float) -> None:
        assert good(ask()), what

    for size in (expiry.PENDING, 0):
        stack = SimpleNamespace(data=lambda _, size=size: {"size": size}, until=until)
        whole: Any = SimpleNamespace(stack=stack)
        if size:
            expiry._others_stay(whole, "segment-1")
        else:
            with pytest.raises(AssertionError, match="the others stay"):
                expiry._others_stay(whole, "segment-1")


def test_two_queries_that_find_nobody_agree_on_nothing() -> None:
    questions.require_alike("P16", 5, 5)
    questions.require_alike("P18", [5, 0], [5, 0])
    questions.require_alike("P18", [(5, [4])], [(5, [4])])
    for mine, theirs in ((5, 6), (0, 0), ([5, 3], [5, 2]), ([0, 0], [0, 0]), ([], [])):
        with pytest.raises(AssertionError):
            questions.require_alike("P16", mine, theirs)


def test_segments_that_are_empty_on_both_sides_are_no_evaluation() -> None:
    segments.require_alike(["a", "b", "c"], [4, 5, 0], [4, 5, 0])
    for mine, theirs in (([4, 5, 1], [4, 5, 0]), ([0, 0, 0], [0, 0, 0])):
        with pytest.raises(AssertionError):
            segments.require_alike(["a", "b", "c"], mine, theirs)


def test_whoever_is_asked_for_is_given() -> None:
    ada = {"externalIds": {"userId": "crowd-4"}, "attributes": {"email": "crowd4@example.com"}}
    require_profile("user_id:crowd-4", ada)
    require_profile("email:crowd4@example.com", ada)
    for who in ("user_id:crowd-8", "email:crowd8@example.com"):
        with pytest.raises(AssertionError, match="gave"):
            require_profile(who, ada)


class Counting:
    """Postgres, which counts so many of those that were found, and so many in all."""

    def __init__(self, among: int, in_all: int) -> None:
        self._counts = iter((among, in_all))
        self.asked: list[str] = []

    def execute(self, question: str, values: dict[str, Any]) -> "Counting":
        self.asked.append(question)
        return self

    def fetchone(self) -> tuple[int]:
        return (next(self._counts),)


def found(*numbers: int) -> list[dict[str, str]]:
    return [{"id": profile_ref(UUID(int=number))} for number in numbers]


def test_a_search_finds_all_that_satisfy_it_and_nobody_else() -> None:
    asked = {"country": "DE", "attributes": {"plan": "pro"}, "tags": ["vip"], "minLtv": 5, "emailConsent": True}
    postgres = Counting(2, 2)
    require_found(asked, found(1, 2), postgres)
    assert all(postgres.asked[0].count(f"%({name})s") == 1 for name in ("country", "plan", "tags", "minLtv"))
    require_found(asked, found(*range(PAGE)), Counting(PAGE, PAGE))
    for page, postgres in ((found(1, 2), Counting(1, 2)), (found(1), Counting(1, 2)), (found(1, 1), Counting(1, 2))):
        with pytest.raises(AssertionError):
            require_found(asked, page, postgres)
    with pytest.raises(AssertionError):
        require_found(asked, found(), Counting(0, PAGE))


def test_nobody_moves_of_whom_nothing_is_new() -> None:
    incremental.require_stillness(10, 1000)  # by the clock
    for moved, looked_at in ((11, 1000), (0, 0)):
        with pytest.raises(AssertionError):
            incremental.require_stillness(moved, looked_at)


def test_after_a_kill_each_event_is_there_once() -> None:
    asked: list[int] = []
    whole: Any = SimpleNamespace(recorded=asked.append)
    recovery.require_once(whole, 1200, Offered(events=320, stored=300))
    recovery.require_once(whole, 1200, Offered(failures=1, events=320, stored=300))
    assert asked == [1500], "of what was not answered nobody knows"
