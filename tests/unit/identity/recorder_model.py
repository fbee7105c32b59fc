"""The recorder's protocol as a graph of states: every interleaving of two workers, within small bounds, is in it.

The workers are production's own code; only the stores are modelled: a ledger with epochs, a table that takes a block
as a whole and remembers the tokens of its last ones, a view that counts what the table gets, messages told. A worker
may be killed before each of its calls, the reply may be lost, and another may take over some or all of its partitions
while it stands still. The store may be killed when it has logged a token, in the table or in the view, and the rows are
not there yet. It is taken for granted that a block is sent soon after the question that it depends on: nobody fills the
whole window in between, nor pushes out of it the token that the answer was about.
"""

from collections import deque
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import replace
from itertools import combinations, count, product
from typing import NamedTuple

from cdp_clickhouse.errors import StoreUnavailable
from cdp_eventlog.log import LogUnavailable, Partition
from cdp_identity.recording.ports import Fenced, LedgerUnavailable
from cdp_identity.recording.protocol import Claim, Intent, Place, Presence
from tests.unit.identity.recorder_worker import Call, Reply, Task, Worker, Workers

WINDOW = 10  # blocks whose tokens the table remembers: more than the model has, so that only others' blocks fill it
FORGOTTEN = 1 << 62
LOST = {
    "intend": (LedgerUnavailable, "the reply is lost"),
    "close": (LedgerUnavailable, "the reply is lost"),
    "insert": (StoreUnavailable, "the reply is lost"),
    "publish": (LogUnavailable, "the reply is lost"),
}


class Faults(NamedTuple):
    """How many may still happen."""

    crashes: int
    lost: int  # replies
    takeovers: int  # of a living worker's partitions
    forgotten: int  # times that others' blocks fill the window
    kept: int = 0  # tokens without their rows


class Bounds(NamedTuple):
    """``received``: per partition the offsets in events-received; ``cuts``: how many records a poll brings of each."""

    received: tuple[tuple[int, ...], ...]
    cuts: tuple[int, ...]
    faults: Faults


class Stored(NamedTuple):
    """One block that the table took. ``is_there``: and not its token alone."""

    token: str
    places: frozenset[Place]
    is_rewritten: bool
    is_there: bool = True
    is_forgotten: bool = False


class State(NamedTuple):
    ledger: tuple[Claim, ...]
    open: tuple[tuple[Intent, ...], ...]
    workers: tuple[Worker, ...]
    faults: Faults
    blocks: frozenset[Stored] = frozenset()
    viewed: frozenset[str] = frozenset()  # tokens that the view remembers
    counted: tuple[Place, ...] = ()  # by the view, in order
    told: frozenset[Place] = frozenset()
    in_flight: Call | None = None  # an insert of a worker that was killed: the table may still take it

    def with_worker(self, before: Worker, after: Worker) -> "State":
        workers = list(self.workers)
        workers[workers.index(before)] = after
        # workers have no names: two states that differ only by who is who are one
        workers.sort(key=lambda worker: worker.number)
        believed = {claim.partition: set[int]() for claim in self.ledger}
        for worker in workers:
            for claim in worker.claims:
                believed[claim.partition].add(claim.epoch)
        # nor are epochs compared but for being the same: one that nobody believes in any more is none
        ledger = [one if one.epoch in believed[one.partition] else replace(one, epoch=0) for one in self.ledger]
        return self._replace(ledger=tuple(ledger), workers=tuple(workers))

    def with_one_less(self, fault: str) -> "State":
        return self._replace(faults=self.faults._replace(**{fault: getattr(self.faults, fault) - 1}))


class Model:
    """All that may happen next."""

    def __init__(self, bounds: Bounds) -> None:
        self._bounds = bounds
        self._workers = Workers(bounds.received, WINDOW)
        self._events = frozenset((number, offset) for number, some in enumerate(bounds.received) for offset in some)

    def explore(self, most: int = 2_000_000) -> tuple[str | None, int]:
        """The first fault, or None, and how many states there are. Breadth first, so the way to a fault is short."""
        partitions = self._workers.partitions
        start = State(
            tuple(Claim(partition, 0) for partition in partitions),
            ((),) * len(partitions),
            (self._workers.off,) * 2,
            self._bounds.faults,
        )
        numbers = {start: 0}
        before: list[list[int]] = [[]]  # from which states each state is reached
        waiting = deque([(start, 0)])
        done = []
        while waiting:
            state, number = waiting.popleft()
            if (fault := self._fault_of(state)) is not None:
                return fault, len(before)
            if self._is_done(state):
                done.append(number)
            for following in self._successors(state):
                reached = numbers.setdefault(following, len(before))
                if reached == len(before):
                    before.append([])
                    waiting.append((following, reached))
                before[reached].append(number)
            assert len(before) < most, "the bounds are too wide"
        return (None if _all_lead_to(done, before) else "it does not converge"), len(before)

    def close(self) -> None:
        self._workers.close()

    def _fault_of(self, state: State) -> str | None:
        """What must never be, in any state."""
        rows = [place for block in state.blocks if block.is_there for place in block.places]
        if len(rows) != len(set(rows)):
            return "an event is stored twice"
        acknowledged = {(n, offset) for n, offset in self._events if offset < state.ledger[n].next_received_offset}
        # what shared a flush with a range that is still open is settled again by whoever closes that one
        durable = acknowledged - {place for intents in state.open for one in intents for place in self._places(one)}
        if not durable <= set(rows):
            return "an acknowledged event is lost"
        if not durable <= state.told:
            return "an acknowledged event was never told"
        if len(state.counted) != len(set(state.counted)):
            return "the view counted an event twice"
        if not durable <= set(state.counted):
            return "the view missed an acknowledged event"
        return None

    def _places(self, intent: Intent) -> Iterator[Place]:
        number = intent.partition.number
        return ((number, offset) for offset in self._bounds.received[number][intent.first : intent.last + 1])

    def _is_done(self, state: State) -> bool:
        return all(
            claim.next_offset == len(offsets) and claim.next_received_offset == max(offsets) + 1
            for claim, offsets in zip(state.ledger, self._bounds.received, strict=True)
        )

    def _successors(self, state: State) -> Iterator[State]:
        for worker in set(state.workers):
            if worker is not self._workers.off and state.faults.crashes:
                yield from self._killed(state, worker)
            if worker.call is not None:
                yield from self._answered(state, worker, worker, worker.call)
            else:
                for started, task in self._tasks(state, worker):
                    following = self._workers.begins(worker, task)
                    if following.call is not None:
                        yield from self._answered(started, worker, following, following.call)
        if state.in_flight is not None:
            yield _viewed(_inserted(state, state.in_flight), state.in_flight)._replace(in_flight=None)
        if state.faults.forgotten and state.blocks and not any(map(_is_sure, state.workers)):
            yield self._others_insert(state)

    def _killed(self, state: State, worker: Worker) -> Iterator[State]:
        killed = state.with_one_less("crashes").with_worker(worker, self._workers.off)
        yield killed
        if worker.call is not None and worker.call.name == "insert" and state.in_flight is None:
            yield killed._replace(in_flight=worker.call)

    def _answered(self, state: State, before: Worker, worker: Worker, call: Call) -> Iterator[State]:
        for after, reply in _outcomes(state, call):
            yield after.with_worker(before, self._workers.told(worker, reply))

    def _tasks(self, state: State, worker: Worker) -> Iterator[tuple[State, Task]]:
        """What an idle worker may be given: partitions to take over, records to read."""
        held = {claim.partition: claim for claim in worker.claims}
        others = {claim for other in state.workers if other is not worker for claim in other.claims}
        owned = {claim.partition for claim in others if claim.epoch == state.ledger[claim.partition.number].epoch}
        free = [partition for partition in self._workers.partitions if partition not in held]
        for many in range(1, len(free) + 1):
            for takes in combinations(free, many):
                if owned.isdisjoint(takes):
                    yield state, Task(takes=takes)
                elif state.faults.takeovers:
                    yield state.with_one_less("takeovers"), Task(takes=takes)
        partitions = sorted(held)
        for cuts in product(self._bounds.cuts, repeat=len(partitions)):
            firsts = [held[partition].next_offset for partition in partitions]
            reads = [
                (partition, first, min(first + cut, len(self._bounds.received[partition.number])) - 1)
                for partition, first, cut in zip(partitions, firsts, cuts, strict=True)
            ]
            if some := tuple(read for read in reads if read[1] <= read[2]):
                yield state, Task(reads=some)

    def _others_insert(self, state: State) -> State:
        """Others' blocks fill the window, which takes longer than the lease of whoever is about to insert."""
        state = state.with_one_less("forgotten")
        blocks = frozenset(block._replace(is_forgotten=True) for block in state.blocks)
        workers = [
            self._workers.stood_still(worker) if _trusts_its_lease(worker) else worker for worker in state.workers
        ]
        workers.sort(key=lambda worker: worker.number)
        return state._replace(blocks=blocks, viewed=frozenset(), workers=tuple(workers), in_flight=None)


def _all_lead_to(done: list[int], before: list[list[int]]) -> bool:
    """Whether every state has a way left to the end."""
    good = set(done)
    waiting = deque(done)
    while waiting:
        for earlier in before[waiting.popleft()]:
            if earlier not in good:
                good.add(earlier)
                waiting.append(earlier)
    return len(good) == len(before)


def _is_sure(worker: Worker) -> bool:
    """Whether it acts upon what the store has just told it: what it saw there, or that a block was taken."""
    if worker.call is None:
        return False
    step = worker.told_of, worker.call.name
    return step == ("look", "insert") or (step == ("insert", "look") and not worker.replies[-1].error)


def _trusts_its_lease(worker: Worker) -> bool:
    return worker.call is not None and worker.call.name in ("insert", "look") and worker.told_of in ("claim", "intend")


def _outcomes(state: State, call: Call) -> Iterator[tuple[State, Reply]]:
    """All that a call may lead to, each with what the worker hears of it."""
    match call.name:
        case "claim":
            yield _claimed(state, call.about)
            return
        case "look":
            yield state, Reply(_presence(state, call.about))
            return
        case "intend":
            claims, intents = call.about
        case "close":
            claims = call.about
        case _:
            claims = ()
    if lost := fenced(state, claims):
        yield state, Reply(error=(Fenced, lost))
        return
    match call.name:
        case "intend":
            done = _with_open(state, claims, intents)
        case "close":
            ledger = list(state.ledger)
            for claim in claims:
                ledger[claim.partition.number] = claim
            done = _with_open(state._replace(ledger=tuple(ledger)), claims, ())
        case "insert":
            done = _viewed(_inserted(state, call), call)
        case "publish":
            done = state._replace(told=state.told | call.about)
        case "repair":
            there = {place for block in state.blocks if block.is_there for place in block.places & call.about}
            done = _counted(state, there.difference(state.counted))
    yield done, Reply()
    if state.faults.lost and call.name in LOST:
        happened = [done]
        if call.name == "insert":
            happened += [state, _inserted(state, call)]
        for after in set(happened):
            yield after.with_one_less("lost"), Reply(error=LOST[call.name])
    if state.faults.kept and call.name == "insert":
        behind = _viewed(_inserted(state, call), call, is_counted=False)
        for after in {_inserted(state, call, is_there=False), behind} - {state, done}:
            yield after.with_one_less("kept")._replace(in_flight=None), Reply(error=LOST["insert"])


def fenced(state: State, claims: Sequence[Claim]) -> frozenset[Partition]:
    return frozenset(c.partition for c in claims if c.epoch != state.ledger[c.partition.number].epoch)


def _claimed(state: State, partitions: Sequence[Partition]) -> tuple[State, Reply]:
    ledger = list(state.ledger)
    believed = {(claim.partition, claim.epoch) for worker in state.workers for claim in worker.claims}
    for partition in partitions:
        unused = next(epoch for epoch in count(1) if (partition, epoch) not in believed)
        ledger[partition.number] = replace(ledger[partition.number], epoch=unused)
    found = tuple((ledger[number], state.open[number]) for _, number in partitions)
    return state._replace(ledger=tuple(ledger)), Reply(found)


def _with_open(state: State, claims: Sequence[Claim], intents: tuple[Intent, ...]) -> State:
    mine = {claim.partition.number for claim in claims}
    return state._replace(open=tuple(intents if n in mine else before for n, before in enumerate(state.open)))


def _inserted(state: State, insert: Call, *, is_there: bool = True) -> State:
    """What the table makes of it: a token that is remembered counts once."""
    if any(block.token == insert.about.token and not block.is_forgotten for block in state.blocks):
        return state
    return state._replace(blocks=state.blocks | {Stored(*insert.about, is_there)})


def _viewed(state: State, insert: Call, *, is_counted: bool = True) -> State:
    """What the view makes of it, also of what the table had already: it remembers tokens by itself."""
    token, places, is_rewritten = insert.about
    if is_rewritten or token in state.viewed:
        return state
    return _counted(state._replace(viewed=state.viewed | {token}), places if is_counted else ())


def _counted(state: State, places: Iterable[Place]) -> State:
    return state._replace(counted=tuple(sorted((*state.counted, *places))))


def _presence(state: State, wanted: frozenset[Place]) -> Presence:
    found = [block for block in state.blocks if block.is_there and block.places & wanted]
    places = frozenset(place for block in found for place in block.places & wanted)
    is_told = found and not any(block.is_rewritten for block in found)
    since = max(WINDOW if block.is_forgotten else 0 for block in found) if is_told else FORGOTTEN
    return Presence(places, since, wanted.issubset(state.counted))
