"""A stream of values, each with a key -> buckets of equal keys, one in memory at a time, the others on the disk."""

import tempfile
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, Final, TypeVar
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
    with tempfile.TemporaryDirectory(prefix="cdp-verify-") as folder:
        paths = [Path(folder) / str(number) for number in range(buckets)]
        _spill(values, paths)
        for path in paths:
            yield _read(path, kind)
            path.unlink()


def _spill(values: Iterable[tuple[str, Any]], paths: list[Path]) -> None:
    encoder = msgspec.json.Encoder()
    files = [path.open("wb") for path in paths]
    try:
        for key, value in values:
            files[bucket_of(key, len(files))].write(encoder.encode(value) + b"\n")
    finally:
        for file in files:
            file.close()


def _read(path: Path, kind: type[T]) -> Iterator[T]:
    decoder = msgspec.json.Decoder(kind)
    with path.open("rb") as file:
        for line in file:
            yield decoder.decode(line)
