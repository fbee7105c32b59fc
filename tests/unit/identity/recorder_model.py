"""The recorder's protocol as a graph of states: every interleaving of two workers, within small bounds, is in it.

What is decided is decided by the production functions; only the stores are modelled: a ledger with epochs, a table that
remembers the tokens of its last blocks, a view of that table, messages told. Every step of a worker may be the last one
before it is killed, its reply may be lost, and another worker may take over while it stands still.
"""

from collections import deque
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, replace
from typing import NamedTuple

from cdp_eventlog.log import Partition
from cdp_identity.recording import protocol
from cdp_identity.recording.protocol import Claim, Intent, Presence, Verdict
from cdp_identity.recording.settlement import bumped

PARTITION = Partition("events-identified", 0)
RECORDS = (0, 1, 1, 2)  # received offsets: three events, one of them told again after a crash of the resolver
EVENTS = frozenset(RECORDS)
CUTS = (2, 3)  # how many records a poll may bring
WINDOW = 10  # blocks whose tokens the table remembers: more than the model has, so that only other partitions fill it
Token = str


@dataclass(frozen=True)
class Decisions:
    """What a worker decides by. The defaults are production's; the variants are bugs that the model has to find."""

    steps: tuple[str, ...] = ("intend", "insert", "publish", "close")
    verdict: Callable[..., Verdict] = protocol.verdict
    fresh: Callable[[Sequence[int], int], tuple[list[int], int]] = protocol.fresh
    token: Callable[[Intent, Claim], Token] = lambda intent, claim: protocol.token("events", [intent])
    is_fenced: bool = True
    asks_after_standing_still: bool = True
    doubts: bool = True
    repairs: bool = True


class Block(NamedTuple):
    """One insert in the table. ``age``: blocks of other partitions after it; ``is_viewed``: the view has counted it."""

    token: Token
    offsets: tuple[int, ...]
    age: int = 0
    is_viewed: bool = True


class Write(NamedTuple):
    """An insert that is about to happen."""

    token: Token
    offsets: tuple[int, ...]


class Worker(NamedTuple):
    """``step`` is what it does next. ``is_stale``: it stood still for so long that tokens may be forgotten since."""

    step: str = "off"
    claim: Claim | None = None
    intent: Intent | None = None
    in_doubt: bool = False
    is_stale: bool = False
    write: Write | None = None
    in_hand: frozenset[int] = frozenset()  # what it will tell of


class Faults(NamedTuple):
    """How many may still happen."""

    crashes: int = 2
    lost: int = 1
    takeovers: int = 1
    forgotten: int = 1


class State(NamedTuple):
    ledger: Claim = Claim(PARTITION, 0)
    open: Intent | None = None
    blocks: tuple[Block, ...] = ()
    told: frozenset[int] = frozenset()
    workers: tuple[Worker, ...] = (Worker(), Worker())
    faults: Faults = Faults()
    in_flight: Write | None = None  # of a worker that was killed: the table may still take it

    def with_worker(self, number: int, worker: Worker) -> "State":
        workers = list(self.workers)
        workers[number] = worker
        # workers have no names: two states that differ only by who is who are one
        return self._replace(workers=tuple(sorted(workers, key=_by_epoch)))


def _by_epoch(worker: Worker) -> int:
    return worker.claim.epoch if worker.claim is not None else 0


def faults_of(state: State) -> str | None:
    """What must never be, in any state."""
    rows = [offset for block in state.blocks for offset in block.offsets]
    if len(rows) != len(set(rows)):
        return "an event is stored twice"
    durable = {offset for offset in EVENTS if offset < state.ledger.next_received_offset}
    if not durable <= set(rows):
        return "an acknowledged event is lost"
    if not durable <= state.told:
        return "an acknowledged event was never told"
    if any(not block.is_viewed for block in state.blocks if durable.issuperset(block.offsets)):
        return "the view missed an acknowledged event"
    return None


def is_done(state: State) -> bool:
    return state.ledger.next_offset == len(RECORDS) and state.ledger.next_received_offset == max(EVENTS) + 1


class Model:
    """All that may happen next."""

    def __init__(self, decisions: Decisions) -> None:
        self._decisions = decisions

    def explore(self, most: int = 2_000_000) -> tuple[str | None, int]:
        """The first fault, or None, and how many states there are. Breadth first, so the way to a fault is short."""
        start = State()
        before: dict[State, list[State]] = {start: []}
        waiting = deque([start])
        while waiting:
            state = waiting.popleft()
            if (fault := faults_of(state)) is not None:
                return fault, len(before)
            for following in self.successors(state):
                if following not in before:
                    before[following] = []
                    waiting.append(following)
                before[following].append(state)
            assert len(before) < most, "the bounds are too wide"
        return self._stuck(before), len(before)

    def _stuck(self, before: dict[State, list[State]]) -> str | None:
        """Whether some state has no way left to the end."""
        good = {state for state in before if is_done(state)}
        waiting = deque(good)
        while waiting:
            for earlier in before[waiting.popleft()]:
                if earlier not in good:
                    good.add(earlier)
                    waiting.append(earlier)
        return None if len(good) == len(before) else "it does not converge"

    def successors(self, state: State) -> Iterator[State]:
        for number, worker in enumerate(state.workers):
            yield from self._worker_steps(state, number, worker)
        if state.faults.forgotten and state.blocks:
            yield _others_insert(state)
        if state.in_flight is not None:
            yield _inserted(state, state.in_flight, views=True)._replace(in_flight=None)

    def _worker_steps(self, state: State, number: int, worker: Worker) -> Iterator[State]:
        if worker.step == "off":
            yield from self._claim(state, number)
            return
        if state.faults.crashes:
            lost = state.faults._replace(crashes=state.faults.crashes - 1)
            crashed = state._replace(faults=lost).with_worker(number, Worker())
            yield crashed
            if worker.step in ("insert", "write") and worker.write and not worker.is_stale:
                yield crashed._replace(in_flight=worker.write)
        yield from getattr(self, f"_{worker.step}")(state, number, worker)

    def _claim(self, state: State, number: int) -> Iterator[State]:
        """Takes the partition over; from a living owner only as often as the bounds say."""
        owned = any(one.claim is not None and one.claim.epoch == state.ledger.epoch for one in state.workers)
        faults = state.faults
        if owned:
            if not faults.takeovers:
                return
            faults = faults._replace(takeovers=faults.takeovers - 1)
        ledger = replace(state.ledger, epoch=state.ledger.epoch + 1)
        state = state._replace(ledger=ledger, faults=faults)
        worker = Worker("poll", ledger)
        if state.open is not None:
            worker = self._drafted(worker, state.open, in_doubt=self._decisions.doubts)
        yield state.with_worker(number, worker)

    def _poll(self, state: State, number: int, worker: Worker) -> Iterator[State]:
        claim = _claim_of(worker)
        due = [offset for offset in range(len(RECORDS)) if protocol.is_due(claim, offset)]
        for cut in CUTS if due else ():
            intent = protocol.intent_for(claim, due[:cut])
            yield state.with_worker(
                number, self._drafted(worker, intent, in_doubt=False, step=self._decisions.steps[0])
            )

    def _drafted(self, worker: Worker, intent: Intent, *, in_doubt: bool, step: str = "") -> Worker:
        """What is to be done for an intent, decided before anything of it is done."""
        received = RECORDS[intent.first : intent.last + 1]
        positions, _ = self._decisions.fresh(received, intent.from_received)
        offsets = tuple(received[position] for position in positions)
        write = Write(self._decisions.token(intent, _claim_of(worker)), offsets) if offsets else None
        following = step or ("look" if in_doubt else self._after("intend"))
        return Worker(following, worker.claim, intent, in_doubt, False, write, frozenset(offsets))

    def _intend(self, state: State, number: int, worker: Worker) -> Iterator[State]:
        if self._is_fenced(state, worker):
            yield state.with_worker(number, Worker())
            return
        following = "look" if worker.in_doubt else self._after("intend")
        done = state._replace(open=worker.intent)
        yield done.with_worker(number, worker._replace(step=following, is_stale=False))
        yield from _unanswered(done, number, worker)

    def _insert(self, state: State, number: int, worker: Worker) -> Iterator[State]:
        yield from self._written(state, number, worker, self._after("insert"))

    def _write(self, state: State, number: int, worker: Worker) -> Iterator[State]:
        yield from self._written(state, number, worker, self._after("insert"))

    def _written(self, state: State, number: int, worker: Worker, following: str) -> Iterator[State]:
        if worker.write is None:
            yield state.with_worker(number, worker._replace(step=following))
            return
        if worker.is_stale and self._decisions.asks_after_standing_still:
            yield state.with_worker(number, worker._replace(step="intend"))
            return
        done = _inserted(state, worker.write, views=True)
        yield done.with_worker(number, worker._replace(step=following))
        if state.faults.lost:
            faults = state.faults._replace(lost=state.faults.lost - 1)
            again = worker._replace(step="look" if self._decisions.doubts else worker.step, in_doubt=True)
            for happened in (state, done, _inserted(state, worker.write, views=False)):
                yield happened._replace(faults=faults).with_worker(number, again)

    def _look(self, state: State, number: int, worker: Worker) -> Iterator[State]:
        write, intent = worker.write, worker.intent
        if write is None or intent is None:
            yield state.with_worker(number, worker._replace(step=self._after("insert")))
            return
        presence = _presence(state, write.offsets)
        match self._decisions.verdict(write.offsets, presence, WINDOW):
            case Verdict.AGAIN:
                yield state.with_worker(number, worker._replace(step="write"))
            case Verdict.MISSING:
                absent = protocol.lacking(write.offsets, write.offsets, presence)
                token = protocol.token("events:missing", bumped([intent]))
                rest = Write(token, tuple(write.offsets[position] for position in absent))
                yield state.with_worker(number, worker._replace(step="write", write=rest))
            case Verdict.DONE:
                yield state.with_worker(number, worker._replace(step="repair"))

    def _repair(self, state: State, number: int, worker: Worker) -> Iterator[State]:
        mended = state
        if self._decisions.repairs:
            mended = state._replace(blocks=tuple(block._replace(is_viewed=True) for block in state.blocks))
        yield mended.with_worker(number, worker._replace(step=self._after("insert")))

    def _publish(self, state: State, number: int, worker: Worker) -> Iterator[State]:
        done = state._replace(told=state.told | worker.in_hand)
        yield done.with_worker(number, worker._replace(step=self._after("publish")))

    def _close(self, state: State, number: int, worker: Worker) -> Iterator[State]:
        if self._is_fenced(state, worker):
            yield state.with_worker(number, Worker())
            return
        claim, intent = _claim_of(worker), worker.intent
        assert intent is not None
        _, following = self._decisions.fresh(RECORDS[intent.first : intent.last + 1], intent.from_received)
        closed = protocol.advanced(claim, intent.last, following)
        ledger = replace(closed, epoch=state.ledger.epoch)
        done = state._replace(ledger=ledger, open=None)
        step = self._after("close")
        kept = Worker("poll", closed) if step == "poll" else worker._replace(step=step, claim=closed)
        yield done.with_worker(number, kept)
        yield from _unanswered(done, number, worker)

    def _is_fenced(self, state: State, worker: Worker) -> bool:
        return self._decisions.is_fenced and _claim_of(worker).epoch != state.ledger.epoch

    def _after(self, step: str) -> str:
        steps = (*self._decisions.steps, "poll")
        return steps[steps.index(step) + 1] if step in steps else steps[0]


def _claim_of(worker: Worker) -> Claim:
    assert worker.claim is not None
    return worker.claim


def _unanswered(done: State, number: int, worker: Worker) -> Iterator[State]:
    """It happened, and the worker will do it again."""
    if done.faults.lost:
        yield done._replace(faults=done.faults._replace(lost=done.faults.lost - 1)).with_worker(number, worker)


def _inserted(state: State, write: Write, *, views: bool) -> State:
    """A token that is remembered counts once; the view remembers tokens by itself."""
    for position, block in enumerate(state.blocks):
        if block.token == write.token and block.age < WINDOW:
            seen = block._replace(is_viewed=block.is_viewed or views)
            return state._replace(blocks=(*state.blocks[:position], seen, *state.blocks[position + 1 :]))
    return state._replace(blocks=(*state.blocks, Block(write.token, write.offsets, 0, views)))


def _others_insert(state: State) -> State:
    """Other partitions fill the window, which takes longer than the lease of whoever is about to insert."""
    faults = state.faults._replace(forgotten=state.faults.forgotten - 1)
    blocks = tuple(block._replace(age=WINDOW) for block in state.blocks)
    workers = tuple(one._replace(is_stale=one.step in ("insert", "look", "write")) for one in state.workers)
    return state._replace(faults=faults, blocks=blocks, workers=workers, in_flight=None)


def _presence(state: State, wanted: tuple[int, ...]) -> Presence:
    found = [(offset, block.age) for block in state.blocks for offset in block.offsets if offset in wanted]
    return Presence(frozenset(offset for offset, _ in found), max((age for _, age in found), default=1 << 62))
