"""Every metric of every process, with its type, labels and meaning; a misspelled one does not import."""

from typing import Final

from prometheus_client import Gauge, Histogram

_FRESHNESS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)

# every process
READY: Final = Gauge("cdp_process_ready", "1 when every dependency is there, else 0")
CONSUMER_LAG: Final = Gauge(
    "cdp_consumer_lag_records", "Records behind the end of the log", ["group", "topic", "partition"]
)
FRESHNESS: Final = Histogram(
    "cdp_freshness_seconds",
    "Seconds from an event's arrival to a stage: profile, recorded, membership, delivered",
    ["stage"],
    buckets=_FRESHNESS,
)
