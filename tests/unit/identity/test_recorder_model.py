"""Every interleaving of the recorder's protocol within small bounds is right; known bugs are found in these bounds."""

import math
import sys
from collections.abc import Awaitable, Callable, Iterator
from dataclasses import replace
from itertools import count
from typing import Any

import pytest
from structlog.testing import capture_logs

from cdp_identity.recording import blocks, flush, protocol, settlement
from cdp_identity.recording.blocks import Block
from cdp_identity.recording.flush import Flush
from cdp_identity.recording.protocol import Presence, Verdict
from cdp_identity.recording.settlement import Settled, Settlement
from tests.unit.identity import recorder_model
from tests.unit.identity.recorder_model import Bounds, Faults, Model
from tests.unit.identity.recorder_worker import Outside

# three events, one of them told again after a crash of the resolver
ALONE = Bounds(((0, 1, 1, 2),), (2, 3), Faults(crashes=2, lost=1, takeovers=1, forgotten=1))
KEPT = Bounds(((0, 1),), (2,), Faults(crashes=1, lost=0, takeovers=1, forgotten=1, kept=2))
SHARED = ((0,), (0,))
BOUNDS = {
    "one partition": ALONE,
    "two partitions, a lost reply": Bounds(SHARED, (1,), Faults(crashes=0, lost=1, takeovers=1, forgotten=1)),
    "two partitions, a crash": Bounds(SHARED, (1,), Faults(crashes=1, lost=0, takeovers=1, forgotten=1)),
    "two partitions, two crashes": Bounds(((0, 1), (0,)), (1,), Faults(crashes=2, lost=0, takeovers=0, forgotten=1)),
    "one partition, two tokens kept": KEPT,
    "two partitions, a token kept": Bounds(SHARED, (1,), Faults(crashes=0, lost=0, takeovers=1, forgotten=1, kept=1)),
}
Patch = tuple[Any, str, Any]
DRAFTED, FINISH, PUBLISH, CLOSE, INTEND = Flush._intended, Flush._finish, Flush._publish, Flush._close, Flush._intend


async def nothing(*_: Any, **__: Any) -> None:
    """In place of a step."""


def own_first(intents: tuple[Any, ...], own: Any) -> tuple[Any, ...]:
    return tuple(sorted(intents, key=lambda intent: intent.partition != own))


def own_only(intents: tuple[Any, ...], own: Any) -> tuple[Any, ...]:
    return tuple(intent for intent in intents if intent.partition == own)


def told_when_claiming(told: Callable[[tuple[Any, ...], Any], tuple[Any, ...]]) -> Patch:
    async def claim(self: Outside, partitions: Any) -> Any:
        found = await self.ask("claim", tuple(partitions))
        return [(claim, told(intents, claim.partition)) for claim, intents in found]

    return Outside, "claim", claim


async def close_first(self: Flush, draft: Any, *, in_doubt: bool) -> None:
    await CLOSE(self, draft)
    await FINISH(self, draft, in_doubt=in_doubt)


async def close_then_publish(self: Flush, draft: Any, arrivals: Any) -> None:
    await CLOSE(self, draft)
    await PUBLISH(self, draft, arrivals)


async def go_on_without(self: Flush, batch: Any) -> Any:
    while True:
        try:
            return await DRAFTED(self, batch)
        except flush.Fenced as fenced:
            self._let_go(fenced)


async def own_intents(self: Flush, claims: Any, intents: Any) -> None:
    mine = {claim.partition for claim in claims}
    await INTEND(self, claims, [intent for intent in intents if intent.partition in mine])


async def lease_from_the_reply(self: Flush, claims: Any, intents: Any) -> None:
    await INTEND(self, claims, intents)
    self._intended_at = self._stores.clock.monotonic()


async def write_until_done(self: Settlement, block: Any, *, in_doubt: bool) -> Settled:
    write: Callable[[], Awaitable[Settled]] = (
        (lambda: self._resettle(block)) if in_doubt else lambda: self._write(block)
    )
    return await self._patience.until_done(write)


async def ask_per_partition(self: Outside, block: Any) -> Presence:
    numbers = sorted({number for number, _ in block.received})
    found = [
        await self.ask("look", frozenset(place for place in block.received if place[0] == number)) for number in numbers
    ]
    return Presence(frozenset().union(*(one.places for one in found)), min(one.blocks_since for one in found))


def never_the_same(numbers: Iterator[int]) -> Callable[..., str]:
    return lambda table, intents, month=None: f"{protocol.token(table, intents, month)}:{next(numbers)}"


BUGS: dict[str, list[Patch]] = {
    "commit before effect": [(Flush, "_finish", close_first)],
    "close before publish": [(Flush, "_publish", close_then_publish), (Flush, "_close", nothing)],
    "no intent": [(Flush, "_intend", nothing)],
    "no epoch": [(recorder_model, "fenced", lambda *_: frozenset())],
    "window overflow without looking": [(settlement, "verdict", lambda *_: Verdict.AGAIN)],
    "no doubt after a lost reply": [(Settlement, "settle", write_until_done)],
    "what is in doubt is believed": [(settlement, "verdict", lambda *_: Verdict.DONE)],
    "a token for each attempt": [(blocks, "token", never_the_same(count()))],
    "repeats are new": [(blocks, "fresh", lambda offsets, _: (list(range(len(offsets))), offsets[-1] + 1))],
    "no question after standing still": [(flush, "_LEASE_S", math.inf)],
    "the lease begins with the reply": [(Flush, "_intend", lease_from_the_reply)],
    "no repair of the view": [(Settlement, "repair", nothing)],
}


def look_without(**told: Any) -> Patch:
    async def presence(self: Outside, block: Any) -> Presence:
        return replace(await self.ask("look", frozenset(block.received)), **told)

    return Outside, "presence", presence


def in_full_view(self: Block, positions: Any, new_token: str) -> Block:
    return self.only(positions, new_token)


BUGS_OF_KEPT_TOKENS: dict[str, list[Patch]] = {
    "what was sent again is believed": [(Settlement, "_rewrite_lost", nothing)],
    "what is rewritten is counted once more": [(Block, "rewritten", in_full_view)],
    "what was rewritten is sent again": [look_without(blocks_since=0)],
    "what the views have alone is sent again": [look_without(is_viewed=False)],
    "no repair of what was sent again": [(flush, "_DOUBTFUL", (Settled.FOUND,))],
}
BUGS_OF_SHARING: dict[str, list[Patch]] = {
    "presence asked per partition": [(Outside, "presence", ask_per_partition)],
    "an heir knows its own range alone": [told_when_claiming(own_only)],
    "an heir names its own range first": [told_when_claiming(own_first)],
    "asking again forgets the others' ranges": [(Flush, "_intend", own_intents)],
    "fenced for one partition, on with the other": [(Flush, "_intended", go_on_without)],
}


@pytest.fixture(autouse=True)
def silent() -> Iterator[None]:
    """Workers wait and are fenced thousands of times."""
    with capture_logs():
        yield


def explored(bounds: Bounds) -> tuple[str | None, int]:
    model = Model(bounds)
    try:
        return model.explore()
    finally:
        model.close()


@pytest.mark.parametrize("bounds", BOUNDS)
def test_the_protocol_loses_nothing_doubles_nothing_and_converges(bounds: str) -> None:
    fault, states = explored(BOUNDS[bounds])
    sys.stdout.write(f"{bounds}: {states} states\n")
    assert fault is None
    assert states > 10_000, "the bounds are so narrow that nothing can happen"


@pytest.mark.parametrize(
    ("bounds", "patches"),
    [*((ALONE, patches) for patches in BUGS.values()), *((KEPT, patches) for patches in BUGS_OF_KEPT_TOKENS.values())],
    ids=[*BUGS, *BUGS_OF_KEPT_TOKENS],
)
def test_known_bugs_are_found(bounds: Bounds, patches: list[Patch], monkeypatch: pytest.MonkeyPatch) -> None:
    for patch in patches:
        monkeypatch.setattr(*patch)
    fault, _ = explored(bounds)
    assert fault is not None


@pytest.mark.parametrize("bug", BUGS_OF_SHARING)
def test_known_bugs_of_shared_flushes_are_found_where_they_are_shared(
    bug: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    for patch in BUGS_OF_SHARING[bug]:
        monkeypatch.setattr(*patch)
    shared = (bounds for bounds in BOUNDS.values() if bounds is not ALONE)
    assert any(explored(bounds)[0] is not None for bounds in shared)
