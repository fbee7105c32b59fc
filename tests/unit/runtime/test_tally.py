"""What a turn of the loop counted arrives at the metrics as if each had been told alone."""

import asyncio

from prometheus_client import CollectorRegistry, Counter, Histogram

from cdp_runtime.tally import Tally


async def test_the_metrics_get_what_each_call_would_have_told_them() -> None:
    registry = CollectorRegistry()
    calls = Counter("calls", "", ["status"], registry=registry)
    summed, alone = (Histogram(name, "", buckets=(0.1, 1), registry=registry) for name in ("summed", "alone"))
    tally = Tally()
    for _ in range(2):  # two turns
        for seconds in (0.05, 0.1, 0.5, 1, 7):
            tally.count(calls.labels("200"))
            tally.count(calls.labels("503"), 2)
            tally.observe(summed, seconds)
            alone.observe(seconds)
        await asyncio.sleep(0)
    assert registry.get_sample_value("calls_total", {"status": "200"}) == 10
    assert registry.get_sample_value("calls_total", {"status": "503"}) == 20
    for suffix, labels in (("sum", {}), ("count", {}), *(("bucket", {"le": le}) for le in ("0.1", "1.0", "+Inf"))):
        told = registry.get_sample_value(f"summed_{suffix}", labels)
        assert told is not None
        assert told == registry.get_sample_value(f"alone_{suffix}", labels)
