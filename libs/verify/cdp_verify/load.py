"""Shops and a clock -> HTTP calls at a fixed rate, retried as an SDK would, every one of them in the journal."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Final

import httpx

from cdp_schemas.codec import encode
from cdp_verify.journal import Answer, JournalWriter, meaning
from cdp_verify.shop import Batch, Shops

_TIMEOUT_S: Final = 8.0


@dataclass(frozen=True, slots=True)
class Habits:
    """How clients behave: share of batches given up at the first failure, and of those sent again after success."""

    patience_s: float = 90.0
    give_up: float = 0.05
    repeat: float = 0.03


@dataclass(slots=True)
class Sum:
    """What a load amounted to. ``late_s``: how far the slowest call began behind its schedule."""

    events: int = 0
    accepted: int = 0
    refused: int = 0
    failures: int = 0
    late_s: float = 0.0


class Client:
    """Sends open loop: the schedule is fixed, a slow gateway makes calls overlap and not the load smaller.

    ``keys``: workspace -> its write key. The same batch is offered again until it is answered, sometimes once more
    after that, sometimes never again.
    """

    def __init__(
        self,
        gateway: str,
        keys: Mapping[str, str],
        shops: Shops,
        journal: JournalWriter,
        habits: Habits = Habits(),
    ) -> None:
        self._gateway, self._keys, self._shops = gateway.rstrip("/"), keys, shops
        self._journal, self._habits = journal, habits
        self._chance = random.Random(f"{shops.seed}-client")
        self.sum = Sum()

    async def run(self, rate: float, until: Callable[[], bool], *, most_open: int = 200) -> Sum:
        """Sends ``rate`` events per second until told to stop; returns when every batch has its last answer.

        Raises what ended one of the calls, such as a journal that cannot be written: nobody would know what was sent.
        """
        limits = httpx.Limits(max_connections=most_open)
        async with httpx.AsyncClient(timeout=_TIMEOUT_S, limits=limits) as http:
            try:
                async with asyncio.TaskGroup() as calls:
                    await self._scheduled(
                        lambda batch: calls.create_task(self._send(http, batch)), rate, until, most_open
                    )
            except ExceptionGroup as ended:
                raise ended.exceptions[0] from None
        return self.sum

    async def _scheduled(
        self, send: Callable[[Batch], asyncio.Task[None]], rate: float, until: Callable[[], bool], most_open: int
    ) -> None:
        started, sent, open_ones = time.monotonic(), 0, set[asyncio.Task[None]]()
        while not until():
            due = started + sent / rate
            await asyncio.sleep(max(0.0, due - time.monotonic()))
            # beyond this many open calls a client is out of memory, and what it would send nobody would see
            while len(open_ones) >= most_open and not until():
                await asyncio.wait(open_ones, timeout=0.5, return_when=asyncio.FIRST_COMPLETED)
            self.sum.late_s = max(self.sum.late_s, time.monotonic() - due)
            batch = self._shops.batch(datetime.now(UTC))
            sent += len(batch.events)
            call = send(batch)
            open_ones.add(call)
            call.add_done_callback(open_ones.discard)

    async def _send(self, http: httpx.AsyncClient, batch: Batch) -> None:
        number = self._journal.sent(batch.workspace_id, batch.events, batch.faulty)
        self.sum.events += len(batch.events)
        habits, chance = self._habits, self._chance
        deadline = time.monotonic() + (0 if chance.random() < habits.give_up else habits.patience_s)
        said = await self._offer(http, number, batch)
        while said is Answer.UNKNOWN and time.monotonic() < deadline:
            await asyncio.sleep(chance.uniform(0.1, 0.5))
            said = await self._offer(http, number, batch)
        if said is Answer.ACCEPTED:
            self.sum.accepted += len(batch.events)
        elif said is Answer.REFUSED:
            self.sum.refused += len(batch.events)
        if chance.random() < habits.repeat:
            await self._offer(http, number, batch)

    async def _offer(self, http: httpx.AsyncClient, number: int, batch: Batch) -> Answer:
        now = datetime.now(UTC)
        body = encode({"batch": batch.events, "sentAt": now.isoformat()})
        key = self._keys[batch.workspace_id]
        headers = {"content-type": "application/json"}
        try:
            answer = await http.post(f"{self._gateway}/v1/batch", content=body, auth=(key, ""), headers=headers)
            status = answer.status_code
        except httpx.HTTPError:
            status = 0
        self._journal.answered(number, status, now)
        said = meaning(status)
        self.sum.failures += said is Answer.UNKNOWN
        return said
