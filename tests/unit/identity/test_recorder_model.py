"""Every interleaving of the recorder's protocol within small bounds is right; known bugs are found in these bounds."""

import asyncio
from dataclasses import replace
from datetime import UTC, datetime
from uuid import UUID

import pytest

from cdp_eventlog.log import Outgoing
from cdp_eventlog.memory import MemoryLog
from cdp_identity.recording.flush import CHECKPOINTS, Flush, Stores
from cdp_identity.recording.ports import WAITED_FOR
from cdp_identity.recording.protocol import Verdict
from cdp_runtime.clock import ManualClock
from cdp_runtime.patience import Patience
from cdp_schemas.codec import encode
from cdp_schemas.events import IdentifiedEvent
from tests.fakes.recorder import FakeColumns, FakeLedger
from tests.unit.identity.recorder_model import PARTITION, Decisions, Model

NOW = datetime(2026, 11, 20, 12, tzinfo=UTC)
PRODUCTION = Decisions()
BUGS = {
    "commit before effect": replace(PRODUCTION, steps=("intend", "close", "insert", "publish")),
    "close before publish": replace(PRODUCTION, steps=("intend", "insert", "close", "publish")),
    "no intent": replace(PRODUCTION, steps=("insert", "publish", "close")),
    "no epoch": replace(PRODUCTION, is_fenced=False),
    "window overflow without looking": replace(PRODUCTION, verdict=lambda *_: Verdict.AGAIN),
    "no doubt after a lost reply": replace(PRODUCTION, doubts=False),
    "what is in doubt is believed": replace(PRODUCTION, verdict=lambda *_: Verdict.DONE),
    "a token for each owner": replace(
        PRODUCTION, token=lambda intent, claim: f"{intent.first}-{intent.last}:{claim.epoch}"
    ),
    "repeats are new": replace(PRODUCTION, fresh=lambda offsets, start: (list(range(len(offsets))), offsets[-1] + 1)),
    "no question after standing still": replace(PRODUCTION, asks_after_standing_still=False),
    "no repair of the view": replace(PRODUCTION, repairs=False),
}


def test_the_protocol_loses_nothing_doubles_nothing_and_converges() -> None:
    fault, states = Model(PRODUCTION).explore()
    assert fault is None
    assert states > 10_000, "the bounds are so narrow that nothing can happen"


@pytest.mark.parametrize("bug", BUGS)
def test_known_bugs_are_found(bug: str) -> None:
    fault, _ = Model(BUGS[bug]).explore()
    assert fault is not None


async def test_the_model_does_its_steps_in_productions_order() -> None:
    log, done = MemoryLog(partitions=1), list[str]()
    event = IdentifiedEvent("demo", "web", "m", "track", NOW, NOW, event="Seen", node_id=UUID(int=1),
                            received_partition=0, received_offset=0)  # fmt: skip
    await log.publish([Outgoing(PARTITION.topic, b"", encode(event), 0)])
    ledger = FakeLedger()
    stores = Stores(ledger, FakeColumns(), ledger, log, ManualClock(NOW))
    flush = Flush(stores, Patience("recorder", WAITED_FOR), checkpoint=done.append)
    await flush.claim([PARTITION], log)
    await asyncio.wait_for(flush.record({PARTITION: await log.read(PARTITION, 0, 0)}), 10)
    assert tuple(done) == CHECKPOINTS
    named = {"intent": "intend"}
    steps = [name.removeprefix("before-") for name in CHECKPOINTS if name.startswith("before-")]
    assert tuple(named.get(step, step) for step in steps) == PRODUCTION.steps
