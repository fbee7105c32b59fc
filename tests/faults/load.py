"""A shop under load -> HTTP batches, and a journal of what was sent and which answer it got."""

import asyncio
import json
import random
import time
from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import Any, Literal

import httpx

Answer = Literal["accepted", "refused", "unknown"]


@dataclass(slots=True)
class Entry:
    """One event as it was sent; ``answer`` is the last one its batch got, ``tries`` how often it was offered."""

    event: dict[str, Any]
    answer: Answer = "unknown"
    tries: int = 0

    @property
    def message_id(self) -> str:
        return str(self.event["messageId"])


@dataclass
class Journal:
    """Everything the client knows; the checker has nothing else but the stores."""

    prefix: str
    entries: dict[str, Entry] = field(default_factory=dict)
    outages: int = 0

    def note(self, event: dict[str, Any]) -> Entry:
        return self.entries.setdefault(event["messageId"], Entry(event))

    def having(self, answer: Answer) -> dict[str, Entry]:
        return {key: entry for key, entry in self.entries.items() if entry.answer == answer}


class Shop:
    """A seeded generator of events of ``people`` users, each with two devices, orders, refunds and updates."""

    def __init__(self, prefix: str, seed: int, people: int = 60) -> None:
        self._chance = random.Random(seed)
        self._prefix, self._people, self._number = prefix, people, 0
        self._orders: dict[int, list[str]] = defaultdict(list)

    def batch(self, size: int) -> list[dict[str, Any]]:
        return [self._event() for _ in range(size)]

    def _event(self) -> dict[str, Any]:
        self._number += 1
        who = self._chance.randrange(self._people)
        device = f"{self._prefix}-device-{who}-{self._chance.randrange(2)}"
        event: dict[str, Any] = {
            "messageId": f"{self._prefix}-{self._number}",
            "anonymousId": device,
            "timestamp": datetime.now(UTC).isoformat(timespec="milliseconds"),
        }
        kind = self._chance.random()
        if kind < 0.45:
            return {**event, "type": "track", "event": f"{self._prefix} Viewed", "properties": {"n": self._number}}
        event["userId"] = f"{self._prefix}-user-{who}"
        if kind < 0.60:
            return {
                **event,
                "type": "identify",
                "traits": {"email": f"{self._prefix}{who}@example.com", "n": self._number},
            }
        return {**event, "type": "track", **self._purchase(who)}

    def _purchase(self, who: int) -> dict[str, Any]:
        orders = self._orders[who]
        if orders and self._chance.random() < 0.12:
            refund = {"order_id": self._chance.choice(orders), "total": self._cents(500) / 100, "currency": "USD"}
            return {"event": "Order Refunded", "properties": refund}
        order_id = f"{self._prefix}-order-{who}-{len(orders)}"
        orders.append(order_id)
        order = {"order_id": order_id, "revenue": self._cents(30_000) / 100, "currency": "USD"}
        return {"event": "Order Completed", "properties": order}

    def _cents(self, limit: int) -> int:
        return self._chance.randrange(1, limit)


@dataclass
class Client:
    """Sends like an SDK: the same batch again until it is answered, sometimes once more after that, sometimes never."""

    gateway: str
    journal: Journal
    shop: Shop
    seed: int
    give_up: float = 0.05
    repeat: float = 0.03

    async def run(self, workers: int, until: Callable[[], bool], pause: float = 0.05) -> None:
        limits = httpx.Limits(max_connections=workers * 2)
        async with httpx.AsyncClient(timeout=8, limits=limits) as http:
            await asyncio.gather(*(self._work(http, n, until, pause) for n in range(workers)))

    async def _work(self, http: httpx.AsyncClient, number: int, until: Callable[[], bool], pause: float) -> None:
        chance = random.Random(f"{self.seed}-{number}")
        while not until():
            entries = [self.journal.note(event) for event in self.shop.batch(chance.randrange(1, 25))]
            patience = time.monotonic() + (0 if chance.random() < self.give_up else 90)
            while not await self._offer(http, entries) and time.monotonic() < patience:
                await asyncio.sleep(chance.uniform(0.1, 0.5))
            if chance.random() < self.repeat:
                await self._offer(http, entries)
            await asyncio.sleep(pause)

    async def _offer(self, http: httpx.AsyncClient, entries: list[Entry]) -> bool:
        body = json.dumps({"batch": [entry.event for entry in entries], "sentAt": datetime.now(UTC).isoformat()})
        for entry in entries:
            entry.tries += 1
        try:
            answer = await http.post(f"{self.gateway}/v1/batch", content=body, auth=("demo-write-key", ""))
        except httpx.HTTPError:
            self.journal.outages += 1
            return False
        if answer.status_code == 200:
            for entry in entries:
                entry.answer = "accepted"
            return True
        if 400 <= answer.status_code < 500 and answer.status_code != 429:
            for entry in entries:
                entry.answer = "refused" if entry.answer != "accepted" else "accepted"
            return True
        self.journal.outages += 1
        return False
