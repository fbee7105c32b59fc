"""What aiokafka has no setting for still is as we set it, whichever of its releases is installed."""

import cramjam
from aiokafka import codec

from cdp_eventlog.brokers import Brokers
from cdp_eventlog.compression import LEVEL
from cdp_eventlog.producer import KafkaProducer

BATCH = b"".join(b'{"type":"track","event":"Order Completed","messageId":"%d"}' % number for number in range(2000))


def test_a_producer_compresses_at_the_level_that_takes_the_least_time() -> None:
    KafkaProducer(Brokers("127.0.0.1:9092"), client_id="test")
    light, usual = (bytes(cramjam.zstd.compress(BATCH, level=level)) for level in (LEVEL, 3))
    assert codec.zstd_encode(BATCH) == light != usual
