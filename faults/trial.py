"""One run of one fault: the stack, chance, the load and what the scenario itself found; and the list of all faults."""

from collections import deque
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, field
from random import Random
from time import monotonic, sleep

from faults.proof import Proof
from faults.proxy import Trouble
from faults.stack import Stack, until

POINT_SECONDS = 60.0
FELT_SECONDS = 60.0
_EVENTS_PER_SECOND = 120.0


class NotHere(Exception):
    """This machine lacks what a fault needs; the sentence says what."""


@dataclass(frozen=True)
class Effort:
    """How much a scenario does; the minimiser halves both. ``seconds``: how long F27 goes on, if not as usual."""

    load: float = 1.0
    steps: float = 1.0
    seconds: float = 0.0

    def of(self, steps: int) -> int:
        """So many steps at this effort, at least one."""
        return max(1, round(steps * self.steps))


@dataclass
class Trial:
    """What a scenario is given. ``kills`` counts processes that it ended or stopped.

    ``whole``: it is judged by all invariants, not only by what the journal can tell.
    """

    stack: Stack
    proof: Proof
    chance: Random
    effort: Effort = Effort()
    kills: int = 0
    whole: bool = False
    erased: list[str] = field(default_factory=list)  # texts that must be nowhere
    broken: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)

    def demand(self, condition: bool, sentence: str) -> None:
        """Notes a violation when the condition does not hold."""
        if not condition:
            self.broken.append(sentence)

    def felt(self, what: str, trouble: Trouble) -> None:
        """Returns once the trouble has met somebody. Raises NotInTime: one that meets nobody shows nothing."""
        until(f"somebody feels that {what}", lambda: trouble.struck > 0, FELT_SECONDS)

    @contextmanager
    def load(self, people: int = 60, *, odd_amounts: bool = True) -> Iterator[None]:
        """The load; it has begun when the block does."""
        with self.proof.load(rate=_EVENTS_PER_SECOND * self.effort.load, people=people, odd_amounts=odd_amounts):
            self.proof.grows(20)
            yield

    def kill(self, name: str) -> None:
        """kill -9, and up again; whoever had ended by itself is not counted."""
        self.kills += self.stack.is_running(name)
        self.stack.kill(name)
        self.stack.start(name)

    def sweep(self, plans: Mapping[str, Sequence[str]], latest: int = 2) -> None:
        """Each service dies at each of its points in turn, there at one of the first ``latest`` reaches.

        Its next life begins with the next point armed.
        """
        left = {service: deque(points[: self.effort.of(len(points))]) for service, points in plans.items()}
        armed: dict[str, _Armed] = {}
        for service in left:
            self.stack.kill(service)
            self._next_life(service, left, armed, latest)
        while armed:
            for service, plan in list(armed.items()):
                if self.stack.came_to(service, plan.point):
                    if not self.stack.is_running(service):
                        self.kills += 1
                        self._next_life(service, left, armed, latest)
                elif monotonic() > plan.deadline:
                    self.broken.append(f"{service} did not come to {plan.point} within {POINT_SECONDS:.0f} s")
                    self.stack.kill(service)
                    self._next_life(service, left, armed, latest)
                elif not self.stack.is_running(service):
                    self.stack.start(service, plan.fault)  # it ended by itself, which is no death at the point
            sleep(0.1)

    def _next_life(self, service: str, left: dict[str, deque[str]], armed: dict[str, "_Armed"], latest: int) -> None:
        armed.pop(service, None)
        fault = ""
        if left[service]:
            point = left[service].popleft()
            fault = f"{point}:{self.chance.randint(1, latest)}:kill"
            armed[service] = _Armed(point, fault, monotonic() + POINT_SECONDS)
        self.stack.start(service, fault)


@dataclass(frozen=True)
class _Armed:
    """What one life of a service is to die at."""

    point: str
    fault: str
    deadline: float


Play = Callable[[Trial], None]


@dataclass(frozen=True)
class Scenario:
    """One fault: what is done, which processes it needs. ``on`` makes a stack for it alone; it may raise NotHere."""

    number: str
    title: str
    needs: tuple[str, ...]
    play: Play
    on: Callable[[], AbstractContextManager[Stack]] | None = None


SCENARIOS: dict[str, Scenario] = {}


def fault(
    number: str, title: str, *needs: str, on: Callable[[], AbstractContextManager[Stack]] | None = None
) -> Callable[[Play], Play]:
    """Registers a scenario under its number."""

    def register(play: Play) -> Play:
        SCENARIOS[number] = Scenario(number, title, needs, play, on)
        return play

    return register
