"""What aiokafka has no setting for still is as we set it, whichever of its releases is installed."""

import cramjam
import pytest
from aiokafka import codec

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.compression import LEVEL, compress, decompress
from cdp_eventlog.producer import KafkaProducer

BATCH = b"".join(b'{"type":"track","event":"Order Completed","messageId":"%d"}' % number for number in range(2000))


def test_a_producer_compresses_at_the_level_that_takes_the_least_time() -> None:
    KafkaProducer(Brokers("127.0.0.1:9092"), client_id="test")
    light, usual = (bytes(cramjam.zstd.compress(BATCH, level=level)) for level in (LEVEL, 3))
    assert codec.zstd_encode(BATCH) == light != usual


@pytest.mark.parametrize("data", [b"", b"x", BATCH])
def test_what_waits_in_a_store_comes_back_whole(data: bytes) -> None:
    assert decompress(compress(data)) == data
    assert len(compress(BATCH)) < len(BATCH) / 5


def test_what_a_release_without_frames_left_is_read_as_it_is() -> None:
    assert decompress(b"\x92\xc4\x01k\xc4\x01m") == b"\x92\xc4\x01k\xc4\x01m"
