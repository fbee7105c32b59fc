"""What one node knows <-> compact bytes, and the join of any two: applying an event twice changes nothing."""

from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from cdp_identity.traits import Register, Span

_VERSION: Final = 1
Registers = dict[str, Register]
_Packed = tuple[list[Any], list[tuple[int, int, int, int, int]]]  # values, holds


@dataclass(slots=True)
class NodeState:
    """Traits and consent of one node, and which source an emitter belongs to (for provenance)."""

    traits: Registers = field(default_factory=dict)
    consent: Registers = field(default_factory=dict)
    sources: dict[int, str] = field(default_factory=dict)

    def join(self, other: "NodeState") -> None:
        """Takes in all that ``other`` knows. Commutative, associative, idempotent."""
        for mine, theirs in ((self.traits, other.traits), (self.consent, other.consent)):
            for name, register in theirs.items():
                mine.setdefault(name, Register()).join(register)
        for emitter, source in other.sources.items():
            self.sources[emitter] = min(source, self.sources.get(emitter, source))

    def __bool__(self) -> bool:
        return bool(self.traits or self.consent)


class _Stored(msgspec.Struct, array_like=True):
    """On disk: times and emitters once each, registers point at them. A register is [values, holds], its holds are
    [emitter, value or value key, first, last] as positions; a key is stored for values that nobody holds any more."""

    version: int
    moments: list[int]
    emitters: list[tuple[int, str]]
    traits: dict[str, _Packed]
    consent: dict[str, _Packed]


_decoder = msgspec.msgpack.Decoder(_Stored)
_encoder = msgspec.msgpack.Encoder()


def encode(state: NodeState) -> bytes:
    """The state as bytes; equal states give equal bytes."""
    registers = [*state.traits.values(), *state.consent.values()]
    spans = [span for register in registers for said in register.said.values() for span in said.values()]
    emitters = sorted({emitter for register in registers for emitter in register.said})
    moments = sorted({moment for span in spans for moment in span})
    positions = {moment: position for position, moment in enumerate(moments)}
    numbers = {emitter: position for position, emitter in enumerate(emitters)}
    # µs since 1970 take nine bytes; the distance to the one before mostly takes five or fewer
    steps = [moment - (moments[at - 1] if at else 0) for at, moment in enumerate(moments)]
    stored = _Stored(
        _VERSION,
        steps,
        [(emitter, state.sources.get(emitter, "")) for emitter in emitters],
        {name: _pack(register, positions, numbers) for name, register in sorted(state.traits.items())},
        {name: _pack(register, positions, numbers) for name, register in sorted(state.consent.items())},
    )
    return _encoder.encode(stored)


def decode(data: bytes) -> NodeState:
    """The reverse of :func:`encode`."""
    stored = _decoder.decode(data)
    moments: list[int] = []
    for step in stored.moments:
        moments.append((moments[-1] if moments else 0) + step)
    emitters = [emitter for emitter, _ in stored.emitters]
    return NodeState(
        {name: _unpack(packed, moments, emitters) for name, packed in stored.traits.items()},
        {name: _unpack(packed, moments, emitters) for name, packed in stored.consent.items()},
        {emitter: source for emitter, source in stored.emitters if source},
    )


def _pack(register: Register, positions: dict[int, int], numbers: dict[int, int]) -> _Packed:
    held = sorted(register.values)
    place = {key: at for at, key in enumerate(held)}
    holds = [
        (numbers[emitter], place.get(key, -1), key, positions[first], positions[last])
        for emitter, spans in sorted(register.said.items())
        for key, (first, last) in sorted(spans.items())
    ]
    return [register.values[key] for key in held], holds


def _unpack(packed: _Packed, moments: list[int], emitters: list[int]) -> Register:
    values, holds = packed
    said: dict[int, dict[int, Span]] = {}
    kept: dict[int, Any] = {}
    for emitter, place, key, first, last in holds:
        said.setdefault(emitters[emitter], {})[key] = (moments[first], moments[last])
        if place >= 0:
            kept[key] = values[place]
    return Register(said, kept)
