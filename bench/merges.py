"""P8: people log in in apps that somebody has used before -> merges per second, in pairs and into one profile each."""

import random
import re
import time
import uuid
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any, Final

import psycopg

from bench import stages
from bench.generator import SEED, Event, Load, request
from bench.machine import Series
from bench.report import Row
from bench.stages import Spent
from bench.target import Target, at_least, share_of_bare
from bench.whole import BATCH, Whole
from cdp_identity.settings import IdentitySettings
from cdp_runtime.parts import in_parts

# a person's own apps, and how many a person may have: more do not merge, they are refused
OWN: Final = 2
MOST: Final[int] = IdentitySettings.model_fields["identity_device_limit"].default - OWN
ROUNDS, PROFILES = 3, 40
MERGES: Final = PROFILES * MOST


_HOW: Final = (
    "{} a round, in batches of 100 as fast as they are answered, from the first request until Postgres has them all; "
    "the median of three rounds of this and three of the other row in turn, each on people of its own and from rest to "
    "rest"
)
P8 = Target(
    "P8", "merges of two existing profiles, 8 identifiers together", "merges/s", release=at_least(1_500, "merges/s"),
    floor=at_least(300, "merges/s"), how="people with an email, two apps and an order log in in an app that somebody "
    "nobody knows has used, with traits and an order: " + _HOW.format(f"{MERGES:,} merges"),
)  # fmt: skip
P8_HOT = Target(
    "P8 hot", "the same merges into one growing profile, then the next; the baseline is P8", "merges/s",
    release=share_of_bare(0.5, "of pairs"), floor=share_of_bare(0.5, "of pairs"),
    how=f"{MOST} apps each, which with their own are as many "
    "as a profile may have: " + _HOW.format(f"{PROFILES} such profiles, one after the other,"),
)  # fmt: skip

_MERGED: Final = "SELECT sum(next_offset) FROM identity.partitions"
_COUNTS: Final = """
SELECT (SELECT count(*) FROM identity.profiles WHERE version > 0),
       (SELECT count(*) FROM identity.links WHERE status = 'r'), (SELECT sum(deadlocks) FROM pg_stat_database)"""
# a machine so busy that a consumer misses its heartbeat says nothing of merges
_ERROR: Final = re.compile(rb'^(?!.*"logger": "aiokafka).*"level": "(?:error|critical)"', re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Crowd:
    """``people`` known by name, and of each so many ``visitors``: apps that nobody has logged in on yet."""

    name: str
    people: int
    visitors: int

    @property
    def merges(self) -> int:
        return self.people * self.visitors

    def histories(self) -> Iterator[Event]:
        """What makes all of them profiles, each kind of event after the one before it."""
        chance = random.Random(SEED)
        for own in range(OWN):
            for person in range(self.people):
                traits = {"email": f"{self.name}.{person}@example.com", "plan": chance.choice("abc")}
                yield self._event("identify", person, f"own{own}", userId=self._user(person), traits=traits)
        for person in range(self.people):
            yield self._order(chance, person, "own0", userId=self._user(person))
        for kind in ("Product Viewed", "identify", "Order Completed"):
            for person, app in self._visitors():
                if kind == "identify":
                    yield self._event("identify", person, app, traits={"country": chance.choice(("GB", "US", "DE"))})
                elif kind == "Order Completed":
                    yield self._order(chance, person, app)
                else:
                    yield self._event("track", person, app, event=kind, properties={"product_id": "LAMP-7"})

    def logins(self) -> Iterator[Event]:
        """The merges: one profile after the other, whole."""
        for person, app in self._visitors():
            yield self._event("identify", person, app, "in", userId=self._user(person), traits={"plan": "c"})

    def _visitors(self) -> Iterator[tuple[int, str]]:
        return ((person, f"app{number}") for person in range(self.people) for number in range(self.visitors))

    def _user(self, person: int) -> str:
        return f"{self.name}-{person}"

    def _order(self, chance: random.Random, person: int, app: str, **fields: Any) -> Event:
        order = {"order_id": f"{self.name}-{person}-{app}", "revenue": chance.randrange(100, 30_000) / 100}
        return self._event("track", person, app, "order", event="Order Completed", properties=order, **fields)

    def _event(self, kind: str, person: int, app: str, what: str = "", **fields: Any) -> Event:
        where = f"{self.name}-{person}-{app}"
        return {
            "type": kind,
            "messageId": f"{where}-{what or kind}",
            "anonymousId": where,
            "context": {"device": {"id": f"{where}-device"}, "library": {"name": "analytics-kotlin"}},
            **fields,
        }


@dataclass(frozen=True, slots=True)
class Round:
    """Merges per second until Postgres had them all, and until all was at rest; CPU seconds by stage."""

    merged: float
    through: float
    seconds: Counter[str]


def merged(whole: Whole) -> Iterable[Row]:
    whole.fill()
    pairs, hot = [], []
    for _ in range(ROUNDS):
        pairs.append(_round(whole, people=MERGES, visitors=1))
        hot.append(_round(whole, people=PROFILES, visitors=MOST))
    usual = _told("in pairs", pairs)
    yield P8.row(usual)
    yield P8_HOT.row(_told("into one profile each", hot), usual)


def again(whole: Whole) -> list[Round]:
    """A round of each, for the profiler."""
    return [_round(whole, people=MERGES, visitors=1), _round(whole, people=PROFILES, visitors=MOST)]


def _told(how: str, rounds: Sequence[Round]) -> float:
    """The median; prints all that was measured."""
    series = Series(tuple(one.merged for one in rounds))
    through = Series(tuple(one.through for one in rounds))
    print(f"  {how}: {series} merges/s, all at rest at {through}", flush=True)
    print(stages.table(sum((one.seconds for one in rounds), Counter()), MERGES * len(rounds), "merge"), flush=True)
    return series.median


def _round(whole: Whole, *, people: int, visitors: int) -> Round:
    """Raises AssertionError unless exactly these profiles become one another's, and nothing goes wrong meanwhile."""
    crowd = Crowd(f"merge-{uuid.uuid4().hex[:8]}", people, visitors)
    there, before, errors = whole.stored(), _counts(whole), _errors(whole)
    histories, load = _load(crowd.histories()), _load(crowd.logins())
    whole.offer(histories)
    whole.recorded(there + histories.stored)
    whole.rest(deadline=120)
    made = _counts(whole)[0] - before[0]
    assert made == people + crowd.merges, f"{made:,} profiles to merge instead of {people + crowd.merges:,}"
    with psycopg.connect(whole.stack.postgres_url, autocommit=True) as connection:
        read = _number(connection, _MERGED)
        spent, start = Spent(lambda: whole.pids), time.perf_counter()
        whole.offer(load)
        while _number(connection, _MERGED) < read + crowd.merges:
            time.sleep(0.01)
        taken = time.perf_counter() - start
    whole.recorded(there + histories.stored + load.stored)
    whole.rest(deadline=120)
    through = time.perf_counter() - start - 1.0  # the second in which it was seen to be idle
    seconds = spent.seconds()
    after = _counts(whole)
    assert after == (before[0] + people, *before[1:]), f"profiles, refused links, deadlocks: {before} became {after}"
    assert _errors(whole) <= errors, f"errors were logged: {whole.stack.data_dir / 'logs'}"
    return Round(crowd.merges / taken, crowd.merges / through, seconds)


def _load(events: Iterable[Event]) -> Load:
    now = datetime.now(UTC).isoformat(timespec="milliseconds")
    some = [event | {"timestamp": now} for event in events]
    return Load([request("/v1/batch", {"batch": part}) for part in in_parts(some, BATCH)], len(some), len(some))


def _counts(whole: Whole) -> tuple[int, ...]:
    """Profiles, refused links and deadlocks."""
    with psycopg.connect(whole.stack.postgres_url) as connection:
        return tuple(int(count) for count in connection.execute(_COUNTS).fetchone() or ())


def _errors(whole: Whole) -> int:
    """How many errors the processes have logged."""
    logs = (whole.stack.data_dir / "logs").glob("*.log")
    return sum(len(_ERROR.findall(log.read_bytes())) for log in logs)


def _number(connection: psycopg.Connection[Any], question: str) -> int:
    found = connection.execute(question.encode()).fetchone()
    return int(found[0]) if found else 0
