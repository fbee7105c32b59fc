"""A stream of values, each with a key -> buckets of equal keys, one in memory at a time, the others on the disk."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final, Generic, TypeVar
from zlib import crc32

import msgspec

T = TypeVar("T")
SIZE: Final = 400_000  # values of one bucket; 10^7 need 25 buckets and 200 MB


def buckets_for(values: int, size: int = SIZE) -> int:
    """How many buckets hold so many values."""
    return -(-values // size) or 1


def bucket_of(key: str, buckets: int) -> int:
    """The bucket of a key, as ClickHouse computes it: ``CRC32(key) % buckets``."""
    return crc32(key.encode()) % buckets


def split(values: Iterable[tuple[str, T]], buckets: int, kind: type[T]) -> Iterator[Iterator[T]]:
    """Reads the values once and yields each bucket once, in their order; a bucket ends when the next is asked for."""
    if buckets == 1:
        yield (value for _, value in values)
        return
    with Spill(buckets, kind) as spill:
        for key, value in values:
            spill.put(bucket_of(key, buckets), value)
        yield from spill.parts()


class Spill(Generic[T]):
    """Buckets on the disk: first everything is put, then ``parts`` gives it back. Gone when the ``with`` ends."""

    def __init__(self, buckets: int, kind: type[T]) -> None:
        self._folder = tempfile.TemporaryDirectory(prefix="cdp-verify-")
        self._paths = [Path(self._folder.name) / str(number) for number in range(buckets)]
        self._files = [path.open("wb") for path in self._paths]
        self._encoder, self._decoder = msgspec.json.Encoder(), msgspec.json.Decoder(kind)

    def __enter__(self) -> "Spill[T]":
        return self

    def __exit__(self, *raised: object) -> None:
        self._close()
        self._folder.cleanup()

    def put(self, bucket: int, value: T) -> None:
        self._files[bucket].write(self._encoder.encode(value) + b"\n")

    def parts(self) -> Iterator[Iterator[T]]:
        """Each bucket once, its values in the order in which they came."""
        self._close()
        for path in self._paths:
            yield self._read(path)
            path.unlink()

    def _read(self, path: Path) -> Iterator[T]:
        with path.open("rb") as file:
            for line in file:
                yield self._decoder.decode(line)

    def _close(self) -> None:
        for file in self._files:
            file.close()
