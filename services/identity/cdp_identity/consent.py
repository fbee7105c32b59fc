"""What each node of a profile was told about consent -> what is allowed: a merge never allows more."""

from collections.abc import Callable, Collection, Iterable, Mapping
from typing import Final, NamedTuple
from uuid import UUID

from cdp_identity.traits import EXPLICIT, Register, Span, value_key
from cdp_schemas.consent import PURPOSES_KEPT

JoinedAt = Callable[[UUID, UUID], int | None]
_YES: Final = value_key(True)
_NO: Final = value_key(False)


class Granted(NamedTuple):
    """Whether a purpose is allowed, and since when (µs)."""

    granted: bool
    since: int


def read(states: Mapping[UUID, Mapping[str, Register]], joined_at: JoinedAt) -> dict[str, Granted]:
    """Purpose -> what holds for a profile whose nodes have these registers.

    A refusal of one node holds for all, until somebody grants the purpose later than the refusal **and** later than
    the two nodes became one profile. A purpose that nobody spoke about is missing, which allows nothing.
    """
    spoken: dict[str, list[tuple[UUID, Register]]] = {}
    for node, registers in states.items():
        for purpose, register in registers.items():
            spoken.setdefault(purpose, []).append((node, register))
    answers = {}
    for purpose, said in sorted(spoken.items()):
        agreed = agreements(register for _, register in said)
        answers[purpose] = _strictest([(node, held(register, agreed)) for node, register in said], joined_at)
    return answers


def agreements(registers: Iterable[Register]) -> dict[int, int]:
    """When each emitter said yes last, to whichever node: a device has one mind before and after its person logs in."""
    found: dict[int, int] = {}
    for register in registers:
        for emitter, spans in register.said.items():
            if _YES in spans:
                found[emitter] = max(spans[_YES][1], found.get(emitter, spans[_YES][1]))
    return found


def held(register: Register, agreed: Mapping[int, int]) -> Granted:
    """What one node was told: among emitters the latest change holds, of two at the same time the refusal.

    A register knows when an emitter said yes and no first and last, not how often it changed its mind between. Where
    that leaves open when it last did, a refusal is as late as it can be and a grant as early: no withdrawal is lost.
    """
    answers = (_answer(emitter, spans, agreed.get(emitter)) for emitter, spans in register.said.items())
    return max(answers, key=lambda one: (one.since, not one.granted))


def statements(register: Register | None, emitter: int) -> list[tuple[int, bool]]:
    """What is known of what an emitter said: when (µs) and whether it granted, in no order."""
    spans = {} if register is None else register.said.get(emitter, {})
    return [(moment, key == _YES) for key, span in spans.items() for moment in span]


def fitting(registers: dict[str, Register], known: Collection[str]) -> dict[str, Register]:
    """What a node has space for. The refused come first, for a destination may take silence for a grant; then those
    that were ``known`` before; then those that were spoken about the earliest."""
    if len(registers) <= PURPOSES_KEPT:
        return registers

    def rank(purpose: str) -> tuple[bool, bool, int, str]:
        register = registers[purpose]
        answer = held(register, agreements([register]))
        return answer.granted, purpose not in known, register.since(), purpose

    return {purpose: registers[purpose] for purpose in sorted(registers, key=rank)[:PURPOSES_KEPT]}


def strictest(answers: Mapping[str, bool], most: int = PURPOSES_KEPT) -> dict[str, bool]:
    """At most so many answers: the refusals first, then in the order of their names."""
    if len(answers) <= most:
        return dict(answers)
    kept = sorted(answers, key=lambda purpose: (answers[purpose], purpose))[:most]
    return {purpose: answers[purpose] for purpose in sorted(kept)}


def _answer(emitter: int, spans: Mapping[int, Span], agreed: int | None) -> Granted:
    yes, no = spans.get(_YES), spans.get(_NO)
    if no is None or (yes is not None and yes[1] > no[1]):
        first, last = spans[_YES]
        since = first if no is None else max(first, no[1])
        return Granted(True, last if emitter == EXPLICIT else since)
    first, last = no
    came_back = agreed is not None and first <= agreed
    return Granted(False, last if emitter == EXPLICIT or came_back else first)


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
