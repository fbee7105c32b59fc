"""CDP_FAULT and the name of a place in the code -> a kill, stop, loss or pause exactly there; nothing without it."""

import os
import signal
import time
from collections import Counter
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import Final

from cdp_runtime.logs import get_logger

# every boundary of an effect outside the process: (what has happened, what has not)
POINTS: Final[Mapping[str, tuple[str, str]]] = {
    "gateway.before-produce": ("events judged", "events in the log"),
    "gateway.after-produce": ("events in the log", "the client's answer"),
    "door.before-produce": ("a call of the API judged", "the change in the log"),
    "door.after-produce": ("the change in the log", "the caller's answer"),
    "resolver.before-commit": ("all statements of a batch", "their commit, with offsets and decisions"),
    "resolver.after-commit": ("the commit", "the resolver's knowledge of it"),
    "resolver.before-publish": ("commit and messages made", "messages in the log"),
    "resolver.after-publish": ("messages in the log", "the consumer's position"),
    "recorder.before-intent": ("a batch read and drafted", "its intent in Postgres"),
    "recorder.after-intent": ("the intent", "any row in ClickHouse"),
    "recorder.before-insert": ("the intent, maybe other blocks", "this block in ClickHouse"),
    "recorder.after-insert": ("this block in ClickHouse", "maybe other blocks, the publication"),
    "recorder.before-publish": ("all blocks", "profiles-recorded"),
    "recorder.after-publish": ("profiles-recorded", "the intent's end"),
    "recorder.before-close": ("blocks and publication", "the intent's end with the new offsets"),
    "recorder.after-close": ("the intent's end with the new offsets", "the consumer's position"),
    "segmenter.before-commit": ("memberships and outbox written", "their commit"),
    "segmenter.after-commit": ("memberships and outbox", "memberships-changed, the consumer's position"),
    "segmenter.before-publish": ("the outbox read", "memberships-changed"),
    "segmenter.after-publish": ("memberships-changed", "its rows out of the outbox"),
    "segmenter.after-delete": ("the rows out of the outbox", "the next round"),
    "activation.before-send": ("forms written ahead", "the call to the platform"),
    "activation.after-send": ("the call to the platform", "its outcome in Postgres"),
    "activation.before-outcome": ("the outcome written", "its commit, with the reports"),
    "activation.after-outcome": ("outcome and reports", "deliveries-reported"),
    "activation.before-publish": ("the outbox read", "deliveries-reported"),
    "activation.after-publish": ("deliveries-reported", "its rows out of the outbox"),
    "activation.after-delete": ("the rows out of the outbox", "the next round"),
}

_log = get_logger(__name__)


class BadFault(ValueError):
    """CDP_FAULT cannot be read; the sentence says which part of it."""


class Lost(ConnectionError):
    """The connection broke at a fault point: what was asked there may have happened."""


@dataclass(slots=True)
class _Plan:
    """What to do at which reach of which point."""

    actions: Mapping[tuple[str, int], Callable[[], None]]
    reached: Counter[str] = field(default_factory=Counter)

    def at(self, point: str) -> None:
        self.reached[point] += 1
        action = self.actions.get((point, self.reached[point]))
        if action is not None:
            _log.warning("fault_point", point=point, reach=self.reached[point])
            action()


_plan: _Plan | None = None


def reach(point: str) -> None:
    """Acts when CDP_FAULT asks for it here. Raises Lost when it asks for that."""
    if _plan is not None:
        _plan.at(point)


def arm(text: str) -> None:
    """Reads ``point:n:action[,…]``; an empty text disarms. Raises BadFault."""
    global _plan
    _plan = _Plan(dict(map(_parsed, text.split(",")))) if text else None


def _parsed(part: str) -> tuple[tuple[str, int], Callable[[], None]]:
    point, _, rest = part.strip().partition(":")
    number, _, action = rest.partition(":")
    if point not in POINTS:
        raise BadFault(f"CDP_FAULT: there is no point {point!r}; there are {', '.join(POINTS)}.")
    if not number.isdigit() or int(number) < 1:
        raise BadFault(f"CDP_FAULT: {part!r} should be point:n:action, where n counts the reaches from 1.")
    return (point, int(number)), _action(action)


def _action(text: str) -> Callable[[], None]:
    name, _, seconds = text.partition("=")
    if name in _SIGNALS:
        return lambda: os.kill(os.getpid(), _SIGNALS[name])
    if name == "raise":
        return _lose
    try:
        if name == "sleep" and 0 < float(seconds) < 3600:
            return lambda: time.sleep(float(seconds))
    except ValueError:
        pass  # told below
    raise BadFault(f"CDP_FAULT: {text!r} is no action; there are kill, stop, raise and sleep=SECONDS.")


def _lose() -> None:
    raise Lost("the connection broke at a fault point")


_SIGNALS: Final = {"kill": signal.SIGKILL, "stop": signal.SIGSTOP}
