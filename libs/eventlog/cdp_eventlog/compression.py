"""Bytes -> fewer, by Zstandard: batches on their way to Kafka, and what waits for it in a store."""

from typing import Final

from aiokafka import codec

# aiokafka takes level 3 and has no setting for it. 1 takes half the time, and batches of events become no larger
LEVEL: Final = 1
_FRAME: Final = b"\x28\xb5\x2f\xfd"


def compress_soon() -> None:
    """Have every producer of this process that compresses with Zstandard do so at LEVEL."""
    codec.zstd_encode.__defaults__ = (LEVEL,)


def compress(data: bytes) -> bytes:
    """A frame of Zstandard, at LEVEL."""
    return bytes(codec.zstd_encode(data, LEVEL))


def decompress(data: bytes) -> bytes:
    """What ``compress`` was given; what is no frame, as it is."""
    return bytes(codec.zstd_decode(data)) if data.startswith(_FRAME) else data
