"""How much a batch is compressed on its way to Kafka."""

from typing import Final

from aiokafka import codec

# aiokafka takes level 3 and has no setting for it. 1 takes half the time, and batches of events become no larger
LEVEL: Final = 1


def compress_soon() -> None:
    """Have every producer of this process that compresses with Zstandard do so at LEVEL."""
    codec.zstd_encode.__defaults__ = (LEVEL,)
