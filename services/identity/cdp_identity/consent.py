"""What each node of a profile was told about consent -> what is allowed: a merge never allows more."""

from collections.abc import Callable, Collection, Mapping
from typing import NamedTuple
from uuid import UUID

from cdp_identity.traits import Register
from cdp_schemas.consent import PURPOSES_KEPT

JoinedAt = Callable[[UUID, UUID], int | None]


class Granted(NamedTuple):
    """Whether a purpose is allowed, and since when (µs)."""

    granted: bool
    since: int


def read(states: Mapping[UUID, Mapping[str, Register]], joined_at: JoinedAt) -> dict[str, Granted]:
    """Purpose -> what holds for a profile whose nodes have these registers.

    A refusal of one node holds for all, until somebody grants the purpose later than the refusal **and** later than
    the two nodes became one profile. A purpose that nobody spoke about is missing, which allows nothing.
    """
    spoken: dict[str, list[tuple[UUID, Granted]]] = {}
    for node, registers in states.items():
        for purpose, register in registers.items():
            held = register.held()
            spoken.setdefault(purpose, []).append((node, Granted(bool(held.value), held.since)))
    return {purpose: _strictest(said, joined_at) for purpose, said in sorted(spoken.items())}


def fitting(registers: dict[str, Register], known: Collection[str]) -> dict[str, Register]:
    """What a node has space for. The refused come first, for a destination may take silence for a grant; then those
    that were ``known`` before; then those that were spoken about the earliest."""
    if len(registers) <= PURPOSES_KEPT:
        return registers

    def rank(purpose: str) -> tuple[bool, bool, int, str]:
        register = registers[purpose]
        return bool(register.held().value), purpose not in known, register.since(), purpose

    return {purpose: registers[purpose] for purpose in sorted(registers, key=rank)[:PURPOSES_KEPT]}


def strictest(answers: Mapping[str, bool], most: int = PURPOSES_KEPT) -> dict[str, bool]:
    """At most so many answers: the refusals first, then in the order of their names."""
    if len(answers) <= most:
        return dict(answers)
    kept = sorted(answers, key=lambda purpose: (answers[purpose], purpose))[:most]
    return {purpose: answers[purpose] for purpose in sorted(kept)}


def _strictest(said: list[tuple[UUID, Granted]], joined_at: JoinedAt) -> Granted:
    grants = [(node, answer) for node, answer in said if answer.granted]
    standing = [
        refusal.since
        for node, refusal in said
        if not refusal.granted and not any(_overrules(grant, node, refusal, joined_at) for grant in grants)
    ]
    if standing:
        return Granted(False, max(standing))
    return Granted(True, max(answer.since for _, answer in grants))


def _overrules(grant: tuple[UUID, Granted], refuser: UUID, refusal: Granted, joined_at: JoinedAt) -> bool:
    granter, answer = grant
    if answer.since <= refusal.since:
        return False
    since_joined = joined_at(granter, refuser)
    return since_joined is not None and answer.since >= since_joined
