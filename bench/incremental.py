"""P13: profiles named as changed -> CPU of looking at each in a hundred segments."""

import asyncio
import time
from collections.abc import Iterable
from datetime import UTC, datetime
from uuid import UUID

import httpx
from aiokafka import AIOKafkaProducer

from bench.report import Row
from bench.stages import Spent
from bench.target import Target, at_most
from bench.topics import written
from bench.whole import Whole
from cdp_schemas.codec import encode
from cdp_schemas.profiles import ProfilesRecorded
from cdp_schemas.topics import MEMBERSHIPS_CHANGED, PROFILES_RECORDED

P13 = Target(
    "P13", "incremental evaluation, CPU per changed profile for 100 segments", "µs", release=at_most(300, "µs"),
    floor=at_most(1000, "µs"), how="1,000 profiles of one workspace a message, one message after the other; CPU of all "
    "processes less what they use at rest; nothing moves, or there is no figure: "
    "it is the price of looking, without that of telling",
)  # fmt: skip
MESSAGES, PROFILES = 10, 1000
_REST_S = 4.0
_METRIC = "cdp_segmenter_profiles_evaluated_total"


def looked_at(whole: Whole) -> Iterable[Row]:
    whole.fill()
    whole.rest()
    named = f"SELECT DISTINCT profile_id FROM cdp.profiles WHERE workspace_id = 'demo' LIMIT {PROFILES}"
    profiles = [UUID(line) for line in whole.ask(named).split()]
    asyncio.run(_evaluated(whole, profiles, 1))  # the first compiles the question
    resting = Spent(lambda: whole.pids)
    time.sleep(_REST_S)
    at_rest = resting.seconds().total() / _REST_S
    told = written(whole.bootstrap, MEMBERSHIPS_CHANGED)
    spent, start = Spent(lambda: whole.pids), time.monotonic()
    asyncio.run(_evaluated(whole, profiles, MESSAGES))
    seconds, taken = spent.seconds(), time.monotonic() - start
    require_stillness(written(whole.bootstrap, MEMBERSHIPS_CHANGED) - told, len(profiles))
    count, own = MESSAGES * len(profiles), seconds.total() - at_rest * taken
    shares = ", ".join(f"{name} {used / count * 1e6:.0f}" for name, used in seconds.most_common(4))
    print(f"  {len(profiles):,} profiles a message; with what runs at rest: {shares} µs", flush=True)
    yield P13.row(max(0.0, own) / count * 1e6)


def require_stillness(moved: int, looked_at: int) -> None:
    """Raises AssertionError when people moved of whom nothing was new, but for a few whom the clock may have moved."""
    assert looked_at, "there is nobody to look at"
    assert moved <= looked_at // 100, f"{moved} people moved, and nothing had happened"


async def _evaluated(whole: Whole, profiles: list[UUID], messages: int) -> None:
    """Each message is sent when the one before it was evaluated: they are not gathered into one."""
    admin = f"http://127.0.0.1:{whole.stack.find('segmenter').environ()['CDP_ADMIN_PORT']}/metrics"
    producer = AIOKafkaProducer(bootstrap_servers=whole.bootstrap)
    await producer.start()
    async with httpx.AsyncClient() as http:
        for _ in range(messages):
            before, deadline = await _seen(http, admin), time.monotonic() + 60
            message = ProfilesRecorded("demo", profiles, datetime.now(UTC))
            await producer.send_and_wait(PROFILES_RECORDED, encode(message), key=b"demo")
            while await _seen(http, admin) < before + len(profiles):
                assert time.monotonic() < deadline, "the segmenter did not look at the profiles within 60 s"
                await asyncio.sleep(0.05)
    await producer.stop()


async def _seen(http: httpx.AsyncClient, admin: str) -> float:
    lines = (await http.get(admin)).text.splitlines()
    return sum(float(line.rpartition(" ")[2]) for line in lines if line.startswith(_METRIC))
