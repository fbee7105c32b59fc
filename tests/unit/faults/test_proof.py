"""The harness's verdict: nothing that was not looked at passes, and what nobody asked for is no fault."""

import asyncio
from collections.abc import Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from faults import proof
from faults.proof import Proof
from faults.stack import PLATFORMS, NotInTime

from cdp_devstack.parts import Part
from cdp_verify.findings import MEANINGS, Finding, finding, not_checked
from cdp_verify.stores import Stores


@pytest.fixture
def judge(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Proof:
    """A proof on no stack at all: what the checks find is put in their place by each test."""
    stack: Any = SimpleNamespace(
        gateway="http://127.0.0.1:1",
        urls=dict.fromkeys(Part, "http://127.0.0.1:1"),
        admin_urls=list,
        is_running=lambda name: name == PLATFORMS,
        platforms_url="http://127.0.0.1:2",
    )
    monkeypatch.setattr(proof, "_QUIET_SECONDS", 0.0)
    monkeypatch.setattr(proof, "prove_journal", _found([]))
    return Proof(stack, tmp_path / "journal", "p", 1)


def _found(findings: Sequence[Finding]) -> Any:
    async def prove(*_: object) -> list[Finding]:
        return list(findings)

    return prove


def test_what_could_not_be_looked_at_is_a_violation(judge: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    unseen = [not_checked("I9", "the store is away"), not_checked("I12", "no erased text was given")]
    monkeypatch.setattr(proof, "prove", _found([finding("I8"), *unseen]))
    (violation,) = judge.verdict(whole=True).violations
    assert violation.startswith("I9 ") and violation.endswith("not checked: the store is away")


def test_a_segment_that_nobody_could_judge_is_a_violation(judge: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    unjudged = finding("I8")
    unjudged.passed_over.append("segment high-value: the operator near is beyond this reading")
    monkeypatch.setattr(proof, "prove", _found([unjudged]))
    (violation,) = judge.verdict(whole=True).violations
    assert violation.startswith("I8 ") and "not judged: segment high-value" in violation


def test_of_erased_people_everything_is_asked(judge: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "prove", _found([not_checked("I12", "Redis is away")]))
    assert len(judge.verdict(whole=True, erased=["somebody"]).violations) == 1
    assert judge.verdict(whole=True).violations == []


def test_the_stand_in_is_asked_what_it_holds(judge: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    """Without it the ledger of deliveries would be compared with itself."""
    asked: list[str | None] = []

    async def prove(stores: Stores, _: object) -> list[Finding]:
        asked.append(stores.standin_url)
        return []

    monkeypatch.setattr(proof, "prove", prove)
    judge.verdict(whole=True)
    assert asked == ["http://127.0.0.1:2"]


def test_it_waits_for_what_cannot_be_looked_at_yet(judge: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(proof, "_QUIET_SECONDS", 60.0)
    answers = iter(
        [[not_checked("I14", "none of these processes has partitions")], [finding(name) for name in MEANINGS]]
    )

    async def prove(*_: object) -> list[Finding]:
        return next(answers)

    monkeypatch.setattr(proof, "prove", prove)
    assert judge.verdict(whole=True).violations == []
    assert next(answers, None) is None, "it asked again"


def test_a_load_that_died_passes_nothing(judge: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    """What was broken after its death met no traffic."""

    async def dead(*_: object, **__: object) -> None:
        raise OSError("the journal's disk is full")

    monkeypatch.setattr(proof.Client, "run", dead)
    with pytest.raises(RuntimeError, match="the load ended before its time: OSError"), judge.load():
        pass


def test_a_load_that_does_not_end_passes_nothing(judge: Proof, monkeypatch: pytest.MonkeyPatch) -> None:
    async def endless(*_: object, **__: object) -> None:
        await asyncio.sleep(5)

    monkeypatch.setattr(proof, "_LAST_ANSWERS_SECONDS", 0.1)
    monkeypatch.setattr(proof.Client, "run", endless)
    with pytest.raises(NotInTime, match="the load has its last answers"), judge.load():
        pass
