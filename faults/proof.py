"""A running stack -> a load with its journal, and what the proof says of it afterwards.

The only module here that knows the load client and the checks; both are those of ``cdp verify``.
"""

import asyncio
import threading
import time
from collections import Counter
from collections.abc import Awaitable, Callable, Iterator, Sequence, Set
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

import httpx

from cdp_clickhouse.client import ClickHouse
from cdp_clickhouse.statement import Statement
from cdp_devstack.parts import Part
from cdp_eventlog.brokers import Brokers
from cdp_runtime.parts import in_parts
from cdp_schemas.codec import encode
from cdp_verify.checks.texts import check_tenancy
from cdp_verify.findings import DOUBLED, LOST, OFF_MINOR, Finding
from cdp_verify.journal import Answer, Journal, JournalWriter, Run, meaning
from cdp_verify.load import Client, Sum
from cdp_verify.proof import UNREACHABLE, Question, prove, prove_journal
from cdp_verify.shop import Mix, Shops, canary
from cdp_verify.stores import LogReads, PostgresReads, Row, Stores
from faults.stack import HTTP, PLATFORMS, NotInTime, Stack, until
from faults.tenants import DEMO, SECRET_KEY, TENANTS, Tenant

T = TypeVar("T")
_QUIET_SECONDS, _LAST_ANSWERS_SECONDS = 45.0, 120.0
_ERASURE = frozenset(("I12",))  # there is nothing to look for where nobody was erased
_WORKSPACE, _KEY = DEMO.workspace, DEMO.write_key
_KEYS = {tenant.workspace: tenant.write_key for tenant in TENANTS}
# few calls at once: after an outage they all come back, and the machine runs the whole stack besides
_MOST_OPEN = 20


@dataclass
class Verdict:
    """What a run amounted to. ``violations`` are sentences; ``ltv_error`` is in minor units."""

    events: int = 0
    lost: int = 0
    duplicated: int = 0
    ltv_error: int = 0
    violations: list[str] = field(default_factory=list)


class Proof:
    """One journal, at ``path``. Questions go to the parts themselves, past every proxy. Close it at the end."""

    def __init__(self, stack: Stack, path: Path, prefix: str, seed: int) -> None:
        self._stack, self._gateway, self._urls = stack, stack.gateway, stack.urls
        self._path, self._seed = path, seed
        self.prefix = prefix
        self._journal = JournalWriter(path, Run(prefix, seed, list(_KEYS)))
        self._loads: list[Sum] = []
        self._own = 0

    def close(self) -> None:
        self._journal.close()

    @contextmanager
    def load(self, *, rate: float = 120.0, people: int = 60, odd_amounts: bool = True) -> Iterator[None]:
        """Traffic of a shop in each workspace, ``rate`` events per second in all, while the block runs.

        Then every batch has its last answer. Raises NotInTime when it has none, RuntimeError when the load died: what
        was broken meanwhile met nothing.
        """
        over, number = threading.Event(), len(self._loads) + 1
        # people and orders of their own: two loads of one proof must not speak of the same order
        mix = Mix(people, late=0.02, faulty=0.01, odd_amounts=odd_amounts)
        shops = Shops(f"{self.prefix}-{number}", self._seed + number, list(_KEYS), mix)
        client = Client(self._gateway, _KEYS, shops, self._journal)
        self._loads.append(client.sum)
        failed: list[BaseException] = []

        def send() -> None:
            try:
                asyncio.run(client.run(rate, over.is_set, most_open=_MOST_OPEN))
            except BaseException as error:
                failed.append(error)

        thread = threading.Thread(target=send, daemon=True)
        thread.start()
        try:
            yield
        except KeyboardInterrupt:
            over.set()
            raise  # nobody will look at the last answers
        except BaseException:
            over.set()
            thread.join(_LAST_ANSWERS_SECONDS)
            raise
        over.set()
        thread.join(_LAST_ANSWERS_SECONDS)
        if failed:
            raise RuntimeError(f"the load ended before its time: {failed[0]!r}") from failed[0]
        if thread.is_alive():
            raise NotInTime(f"not within {_LAST_ANSWERS_SECONDS:.0f} s: the load has its last answers")

    @property
    def canary(self) -> str:
        """The ``page`` of everything that the first load's people look at, and of nothing else."""
        return self.canary_of(DEMO)

    def canary_of(self, tenant: Tenant) -> str:
        """The same of another workspace."""
        return canary(f"{self.prefix}-1", tenant.workspace)

    @property
    def accepted(self) -> int:
        """How many events were accepted so far."""
        return self._own + sum(one.accepted for one in self._loads)

    @property
    def outages(self) -> int:
        """How many calls got no answer, or one that promises nothing."""
        return Journal(self._path).outages

    def grows(self, by: int = 100, seconds: float = 60.0) -> None:
        """Returns when so many more events were accepted. Raises NotInTime."""
        goal = self.accepted + by
        until(f"{by} more events are accepted", lambda: self.accepted >= goal, seconds)

    def offer(self, events: Sequence[dict[str, Any]], seconds: float = 30.0) -> int:
        """One batch, journalled; returns the status, 0 for none. 5xx and 429 are offered again until the deadline."""
        batch = self._journal.sent(_WORKSPACE, events)
        end, status = time.monotonic() + seconds, 0
        while time.monotonic() < end:
            status = self._post(events)
            self._answered(batch, events, status)
            if meaning(status) is not Answer.UNKNOWN:
                break
            time.sleep(0.3)
        return status

    def sent(self, events: Sequence[dict[str, Any]], status: int, *, faulty: bool = False) -> None:
        """Journals events that the scenario sent in a body of its own; ``faulty`` ones must become dead letters."""
        named = [event["messageId"] for event in events] if faulty else []
        self._answered(self._journal.sent(_WORKSPACE, events, named), events, status)

    def resend(self, size: int = 50) -> int:
        """Every accepted event once more, in other batches than before. Returns how many the gateway took."""
        sent = [entry for entry in Journal(self._path).entries() if entry.answer is Answer.ACCEPTED]
        taken = 0
        for workspace, key in _KEYS.items():
            events = (entry.event for entry in sent if entry.workspace_id == workspace)
            taken += sum(len(batch) for batch in in_parts(events, size) if self._post(batch, key) == 200)
        return taken

    def rows(self, sql: str, **values: str) -> list[Row]:
        """What ClickHouse answers to a question of the scenario's own."""
        return self._asked(lambda stores: stores.events(sql, **values))

    def command(self, sql: str) -> None:
        """Changes something in ClickHouse."""
        self._asked(lambda stores: stores.clickhouse.command(Statement(sql)))

    def verdict(self, *, whole: bool = False, erased: Sequence[str] = ()) -> Verdict:
        """Waits until the stores are at rest, and compares them with the journal. Raises NotInTime.

        ``whole``: every invariant that ``cdp verify`` knows, also those of segments, deliveries and processes, and
        that none of the ``erased`` texts is left anywhere.
        """
        journal = Journal(self._path)
        findings = self._settled(lambda stores: prove_journal(stores, journal))
        if whole:
            unasked = frozenset[str]() if erased else _ERASURE
            findings = self._settled(lambda stores: prove(stores, Question(journal, erased)), unasked)
        findings += self._strays()
        sums = sum((one.sums for one in findings), Counter[str]())
        return Verdict(
            events=journal.count(Answer.ACCEPTED),
            lost=sums[LOST],
            duplicated=sums[DOUBLED],
            ltv_error=sums[OFF_MINOR],
            violations=[sentence for one in findings for sentence in _sentences(one)],
        )

    def _strays(self) -> list[Finding]:
        """I11 for each load: every one marks its people in its own way."""
        runs = [Run(f"{self.prefix}-{number}", 0, list(_KEYS)) for number in range(1, len(self._loads) + 1)]
        return [self._asked(lambda stores, run=run: check_tenancy(stores, run)) for run in runs]  # type: ignore[misc]

    def _settled(
        self, check: Callable[[Stores], Awaitable[list[Finding]]], unasked: Set[str] = frozenset()
    ) -> list[Finding]:
        """The findings, once all hold or nothing has changed for a while. Raises NotInTime.

        What could not be looked at does not hold, unless it is ``unasked``: that is left out.
        """
        last, quiet = "", time.monotonic()
        while True:
            findings: list[Finding] | None = None
            try:
                asked = self._asked(check)
                findings = [one for one in asked if not (one.not_checked and one.invariant in unasked)]
                if all(one.holds for one in findings):
                    return findings
                state = str(findings)
            except UNREACHABLE as error:
                state = f"{type(error).__name__}: {error}"
            if state != last:
                last, quiet = state, time.monotonic()
            if time.monotonic() > quiet + _QUIET_SECONDS:
                if findings is None:
                    raise NotInTime(f"the stores cannot be compared: {state}")
                return findings
            time.sleep(1.0)

    def _asked(self, question: Callable[[Stores], Awaitable[T]]) -> T:
        """One question with connections of its own: a part may be another process than before."""

        async def ask() -> T:
            columns = ClickHouse(self._urls[Part.CLICKHOUSE])
            log, records = LogReads(Brokers(self._urls[Part.KAFKA])), PostgresReads(self._urls[Part.POSTGRES])
            try:
                redis = self._urls[Part.REDIS]
                standin = self._stack.platforms_url if self._stack.is_running(PLATFORMS) else None
                admin = self._stack.admin_urls()
                return await question(Stores(columns, records, log, redis, admin, standin, secret_key=SECRET_KEY))
            finally:
                await columns.stop()

        return asyncio.run(ask())

    def _answered(self, batch: int, events: Sequence[dict[str, Any]], status: int) -> None:
        self._journal.answered(batch, status)
        self._own += len(events) * (meaning(status) is Answer.ACCEPTED)

    def post(self, events: Sequence[dict[str, Any]], key: str = _KEY) -> httpx.Response:
        """One try, which is not in the journal: :meth:`sent` brings it there. Raises httpx.HTTPError."""
        body, headers = encode({"batch": events}), {"content-type": "application/json"}
        return HTTP.post(f"{self._gateway}/v1/batch", content=body, headers=headers, auth=(key, ""), timeout=15)

    def _post(self, events: Sequence[dict[str, Any]], key: str = _KEY) -> int:
        try:
            return self.post(events, key).status_code
        except httpx.HTTPError:
            return 0


def _sentences(one: Finding) -> Iterator[str]:
    name = f"{one.invariant} {one.meaning}"
    if one.not_checked:
        yield f"{name}: not checked: {one.not_checked}"
    # rules of the scenarios' own, which are there to be judged
    yield from (f"{name}: not judged: {part}" for part in one.passed_over)
    yield from (f"{name}: {violation}" for violation in one.violations)
    if one.count > len(one.violations):
        yield f"{name}: and {one.count - len(one.violations)} more"
