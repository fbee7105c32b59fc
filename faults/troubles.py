"""Troubles of connections, made among other faults -> each has met somebody, alone if need be."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field

from faults.proxy import Matches, Proxy, Trouble
from faults.stack import until
from faults.trial import FELT_SECONDS, Trial


@dataclass
class Single:
    """One trouble, made as often as its turn comes. ``asks``: what makes somebody come, where nobody does by itself.

    Among others it may meet nobody: whoever would have come is dead by then, or another trouble took its place.
    """

    what: str
    begins: Callable[[], Trouble]
    asks: Callable[[], object] = lambda: None
    made: list[Trouble] = field(default_factory=list)

    def __call__(self) -> None:
        self.made.append(self.begins())
        self.asks()

    @property
    def has_struck(self) -> bool:
        return any(trouble.struck for trouble in self.made)

    def strikes(self) -> bool:
        """Whether it has by now, when somebody is asked for once more."""
        if not self.has_struck:
            self.asks()
        return self.has_struck


def at(proxy: Proxy, make: Callable[[], Trouble]) -> Callable[[], Trouble]:
    """What puts a new trouble of this kind in the place of what the proxy has."""

    def begins() -> Trouble:
        proxy.trouble = made = make()
        return made

    return begins


def lost(matches: Matches) -> Callable[[], Trouble]:
    """The replies to the next two such requests are lost."""
    return lambda: Trouble(lose_reply_to=matches, times=2)


def met(trial: Trial, troubles: Sequence[Single], needs: Iterable[str]) -> int:
    """Each trouble that was made and met nobody is made again, alone, until it does; how many these were.

    Raises NotInTime for one that meets nobody even then.
    """
    missed = [one for one in troubles if one.made and not one.has_struck]
    for one in missed:
        one()
        until(f"somebody feels that {one.what}", one.strikes, FELT_SECONDS)
        trial.stack.recover(tuple(needs))
    return len(missed)
