"""Columns of Python values -> Postgres arrays in binary: neither side writes text or reads it."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from struct import pack
from typing import Any, Final

import msgspec
import psycopg
from psycopg.adapt import Dumper
from psycopg.pq import Format

_EPOCH: Final = datetime(2000, 1, 1, tzinfo=UTC)
_EPOCH_MICROS: Final = 946_684_800_000_000  # of Postgres's epoch, since 1970
_MICROSECOND: Final = timedelta(microseconds=1)
_NULL: Final = b"\xff\xff\xff\xff"
_json: Final = msgspec.json.Encoder(decimal_format="number")


@dataclass(frozen=True, slots=True)
class Kind:
    """A type of elements: its number in every Postgres, and how an element is sent, with its length before it."""

    oid: int
    element: Callable[[Any], bytes]


@dataclass(frozen=True, slots=True)
class Array:
    """A parameter for a statement that says its type: ``%s::uuid[]``."""

    data: bytes


class _ArrayDumper(Dumper):
    format = Format.BINARY

    def dump(self, obj: Array) -> bytes:
        return obj.data


psycopg.adapters.register_dumper(Array, _ArrayDumper)


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(4, "big") + data


def _fixed(size: int) -> Callable[[int], bytes]:
    """Raises OverflowError for what has no room."""
    prefix = size.to_bytes(4, "big")
    return lambda value: prefix + value.to_bytes(size, "big", signed=True)


_int8: Final = _fixed(8)
texts: Final = Kind(25, lambda value: _sized(value.encode()))
characters: Final = Kind(18, lambda value: _sized(value.encode()))
"""``"char"``."""
uuids: Final = Kind(2950, lambda value: b"\0\0\0\x10" + value.bytes)
digests: Final = Kind(2950, lambda value: b"\0\0\0\x10" + value)
"""uuid from its 16 bytes."""
smallints: Final = Kind(21, _fixed(2))
integers: Final = Kind(23, _fixed(4))
bigints: Final = Kind(20, _int8)
booleans: Final = Kind(16, lambda value: b"\0\0\0\x01\x01" if value else b"\0\0\0\x01\0")
times: Final = Kind(1184, lambda value: _int8((value - _EPOCH) // _MICROSECOND))
"""timestamptz from an aware time."""
moments: Final = Kind(1184, lambda value: _int8(value - _EPOCH_MICROS))
"""timestamptz from µs since 1970."""
octets: Final = Kind(17, _sized)
"""bytea."""
documents: Final = Kind(3802, lambda value: _sized(b"\x01" + _json.encode(value)))
"""jsonb."""


def arrays(rows: Iterable[Sequence[Any]], *kinds: Kind) -> list[Array]:
    """Rows as one array per column; None is NULL. The statement says each column's type."""
    columns = list(zip(*rows, strict=True)) or [()] * len(kinds)
    return [array(column, kind) for column, kind in zip(columns, kinds, strict=True)]


def array(column: Iterable[Any], kind: Kind) -> Array:
    """One column as an array. Raises OverflowError for a number that its type has no room for."""
    element = kind.element
    elements = [_NULL if value is None else element(value) for value in column]
    if not elements:
        return Array(pack(">3i", 0, 0, kind.oid))
    return Array(b"".join((pack(">5i", 1, 1, kind.oid, len(elements), 1), *elements)))
