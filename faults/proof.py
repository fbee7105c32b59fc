"""A running stack -> a load with its journal, and what the invariants say of it afterwards.

The only module here that knows the load client and the checker.
"""

import asyncio
import json
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

import httpx
from tests.faults.checker import Stores, check, oracle, received
from tests.faults.load import Client, Journal, Shop

from faults.stack import until

_QUIET_SECONDS = 45.0
_KEY = ("demo-write-key", "")


@dataclass
class Verdict:
    """What a run amounted to. ``violations`` are sentences; ``ltv_error`` is in minor units."""

    events: int = 0
    lost: int = 0
    duplicated: int = 0
    ltv_error: int = 0
    violations: list[str] = field(default_factory=list)


class Proof:
    """One journal. ``bootstrap`` and ``clickhouse_url`` lead to the parts themselves, past every proxy."""

    def __init__(self, gateway: str, bootstrap: str, clickhouse_url: str, prefix: str, seed: int) -> None:
        self._gateway, self._bootstrap, self._seed = gateway, bootstrap, seed
        self.prefix, self.journal, self.stores = prefix, Journal(prefix), Stores(clickhouse_url)
        self._shops = 0

    @contextmanager
    def load(self, *, workers: int = 2, pause: float = 0.15, people: int = 60) -> Iterator[None]:
        """A shop under load while the block runs; afterwards every batch has its last answer."""
        over = threading.Event()
        self._shops += 1
        # people and orders of their own: two loads of one proof must not speak of the same order
        shop = Shop(f"{self.prefix}-{self._shops}", self._seed + self._shops, people)
        client = Client(self._gateway, self.journal, shop, self._seed)
        thread = threading.Thread(target=lambda: asyncio.run(client.run(workers, over.is_set, pause)), daemon=True)
        thread.start()
        try:
            yield
        finally:
            over.set()
            thread.join(120)

    @property
    def accepted(self) -> int:
        return len(self.journal.having("accepted"))

    def grows(self, by: int = 100, seconds: float = 60.0) -> None:
        """Returns when so many more events were accepted. Raises NotInTime."""
        goal = self.accepted + by
        until(f"{by} more events are accepted", lambda: self.accepted >= goal, seconds)

    def offer(self, events: Sequence[dict[str, Any]], seconds: float = 30.0) -> int:
        """One batch, journalled; returns the status, 0 for none. 5xx and 429 are offered again until the deadline."""
        for event in events:
            self.journal.note(event)
        end, status = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            status = self._post({"batch": list(events)})
            if status and status < 500 and status != 429:
                break
            time.sleep(0.3)
        self.sent(events, status)
        return status

    def sent(self, events: Sequence[dict[str, Any]], status: int) -> None:
        """Journals events that the scenario sent in a body of its own, with the answer to it."""
        for event in events:
            entry = self.journal.note(event)
            entry.tries += 1
            entry.answer = "accepted" if status == 200 else "refused" if 400 <= status < 500 else "unknown"

    def resend(self, size: int = 50) -> int:
        """Every accepted event once more, in other batches than before. Returns how many the gateway took."""
        events = [entry.event for entry in self.journal.having("accepted").values()]
        batches = [events[at : at + size] for at in range(0, len(events), size)]
        return sum(len(batch) for batch in batches if self._post({"batch": batch}) == 200)

    def verdict(self) -> Verdict:
        """Waits until the stores are at rest, and compares them with the journal."""
        found = self._settled()
        stored = Counter(row["message_id"] for row in self.stores.events(self.prefix))
        accepted = self.journal.having("accepted")
        there = {key: entry for key, entry in self.journal.entries.items() if key in stored}
        money = self.stores.revenue(self.prefix)
        return Verdict(
            events=len(accepted),
            lost=sum(1 for key in accepted if key not in stored),
            duplicated=sum(count - 1 for count in stored.values()),
            ltv_error=sum(abs(said.ltv_cents - money.get(who, (0, 0))[0]) for who, said in oracle(there).items()),
            violations=[f"{name}: {one}" for name, details in found.items() for one in details],
        )

    def _settled(self) -> dict[str, list[str]]:
        """The violations, once there are none or nothing has changed for a while."""
        last: object = None
        quiet = time.monotonic()
        while True:
            state = _or_nothing(self._state)
            if state is not None and state[0] == state[1] and not (found := check(self.journal, self.stores)):
                return found
            if state != last:
                last, quiet = state, time.monotonic()
            if time.monotonic() > quiet + _QUIET_SECONDS:
                found = check(self.journal, self.stores)
                if state is not None and state[0] != state[1]:
                    found["I4 every event of the log has one outcome"] = [f"{state[0]} in the log, {state[1]} outcomes"]
                return found
            time.sleep(0.5)

    def _state(self) -> tuple[int, int, int]:
        in_log = asyncio.run(received(self._bootstrap))
        return in_log, self.stores.outcomes(), len(self.stores.events(self.prefix))

    def _post(self, body: dict[str, Any]) -> int:
        try:
            answer = httpx.post(f"{self._gateway}/v1/batch", content=json.dumps(body), auth=_KEY, timeout=10)
        except httpx.HTTPError:
            return 0
        return answer.status_code


def _or_nothing(ask: Callable[[], tuple[int, int, int]]) -> tuple[int, int, int] | None:
    try:
        return ask()
    except (httpx.HTTPError, OSError):
        return None
