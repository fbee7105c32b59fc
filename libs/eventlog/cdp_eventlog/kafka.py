"""The Kafka adapters of the log under one name."""

from cdp_eventlog.consumer import KafkaConsumer
from cdp_eventlog.producer import KafkaProducer
from cdp_eventlog.reader import KafkaRangeReader

__all__ = ["KafkaConsumer", "KafkaProducer", "KafkaRangeReader"]
