"""Registers: what each emitter said of one attribute and when -> the value that holds; a join of any two is exact.

Browser SDKs repeat every trait they remember with each identify, so the latest call is not the latest change. A
register therefore keeps, per emitter and value, the first and the last time it was said. What an emitter holds is the
value it said last, since it first said so, or since it last said otherwise. Among emitters the latest change wins.
First is a minimum and last a maximum, so joining registers is commutative, associative and idempotent, as long as one
emitter's values out of order stay within ``VALUES_KEPT``.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from hashlib import blake2b
from typing import Any, Final, NamedTuple

import msgspec

VALUES_KEPT: Final = 6
EMITTERS_KEPT: Final = 64
# the API and explicit consent calls: every statement is meant, none is an echo
EXPLICIT: Final = 0
_encoder = msgspec.json.Encoder(order="deterministic")

Span = tuple[int, int]  # first and last time it was said, µs


class Held(NamedTuple):
    """The value that holds, since when (µs), and the emitter that changed it."""

    value: Any
    since: int
    emitter: int
    key: int


@dataclass(slots=True)
class Register:
    """``said``: emitter -> value key -> span. ``values``: value key -> value, for the keys that an emitter holds."""

    said: dict[int, dict[int, Span]] = field(default_factory=dict)
    values: dict[int, Any] = field(default_factory=dict)

    def say(self, emitter: int, value: Any, moment: int) -> bool:
        """Adds one statement; False when nothing changed."""
        key = value_key(value)
        spans = self.said.setdefault(emitter, {})
        old = spans.get(key)
        new = (moment, moment) if old is None else (min(old[0], moment), max(old[1], moment))
        if new == old:
            return False
        spans[key] = new
        self.values.setdefault(key, value)
        self.prune([emitter])
        return True

    def join(self, other: "Register") -> None:
        """Takes in all that another register of the same attribute knows."""
        self.take(other)
        self.prune(other.said)

    def take(self, other: "Register") -> None:
        """Joins, and keeps more than is to be kept until ``prune``: once for any number of registers."""
        for emitter, spans in other.said.items():
            mine = self.said.setdefault(emitter, {})
            for key, (first, last) in spans.items():
                old = mine.get(key)
                mine[key] = (first, last) if old is None else (min(old[0], first), max(old[1], last))
        for key, value in other.values.items():
            self.values.setdefault(key, value)

    def held(self) -> Held:
        """The value that holds. Raises ValueError for an empty register."""
        since, key, emitter = max(
            (since, key, emitter) for emitter, spans in self.said.items() for key, since in (_current(emitter, spans),)
        )
        return Held(self.values[key], since, emitter, key)

    def since(self) -> int:
        """When anything was said first, in µs."""
        return min(first for spans in self.said.values() for first, _ in spans.values())

    def prune(self, emitters: Iterable[int]) -> None:
        """Keeps of these emitters their latest values, of all the latest emitters, and of the values what they hold."""
        for emitter in emitters:
            spans = self.said[emitter]
            if len(spans) > VALUES_KEPT:
                kept = sorted(spans.items(), key=lambda item: (item[1][1], item[0]), reverse=True)[:VALUES_KEPT]
                self.said[emitter] = dict(kept)
        if len(self.said) > EMITTERS_KEPT:
            latest = sorted(self.said, key=lambda one: (max(last for _, last in self.said[one].values()), one))
            for forgotten in latest[: len(self.said) - EMITTERS_KEPT]:
                del self.said[forgotten]
        if len(self.values) > 1:  # somebody holds the only one
            holding = {_current(one, spans)[0] for one, spans in self.said.items()}
            self.values = {key: value for key, value in self.values.items() if key in holding}


def value_key(value: Any) -> int:
    """48 bits that stand for a JSON value; 0 for null, which means that the trait is gone."""
    if value is None:
        return 0
    return int.from_bytes(blake2b(_encoder.encode(value), digest_size=6).digest(), "big") or 1


def join_all(states: Iterable[Mapping[str, Register]]) -> dict[str, Register]:
    """Attribute -> register with all that the states know; the states stay as they are."""
    joined: dict[str, Register] = {}
    for state in states:
        for name, register in state.items():
            joined.setdefault(name, Register()).take(register)
    for register in joined.values():
        register.prune(list(register.said))
    return joined


def read(registers: Mapping[str, Register]) -> dict[str, Any]:
    """The traits that hold, by name; removed ones (null) are left out."""
    held = {name: register.held().value for name, register in sorted(registers.items())}
    return {name: value for name, value in held.items() if value is not None}


def fitting(held: Mapping[str, Any], space: int) -> dict[str, Any]:
    """The traits, in the order of their names, that fit into ``space`` bytes of JSON."""
    kept = {}
    for name, value in sorted(held.items()):
        space -= len(_encoder.encode(name)) + len(_encoder.encode(value)) + 2
        if space >= 0:
            kept[name] = value
    return kept


def _current(emitter: int, spans: Mapping[int, Span]) -> tuple[int, int]:
    """What an emitter holds, as value key, and since when."""
    if len(spans) == 1:
        ((key, (first, last)),) = spans.items()
        return key, last if emitter == EXPLICIT else first
    key, (first, last) = max(spans.items(), key=lambda item: (item[1][1], item[0]))
    if emitter == EXPLICIT:
        return key, last
    return key, max([first, *(other_last for other, (_, other_last) in spans.items() if other != key)])
