"""The load obeys the data rules, and is the same for the same seed."""

import json
from collections import Counter
from datetime import UTC, datetime, timedelta

import pytest
from bench.generator import SHARES, Tenant, Traffic, dataset, made

NOW = datetime(2026, 11, 1, tzinfo=UTC)
TENANTS = [Tenant(f"t{number}", f"key{number}", "") for number in range(len(SHARES))]


@pytest.fixture(scope="module")
def batches():
    traffic = Traffic(TENANTS)
    return traffic, [traffic.batch(50, NOW) for _ in range(600)]


def events(batches):
    return [event for _, some in batches[1] for event in some]


def test_workspaces_have_their_shares(batches) -> None:
    sent = Counter(tenant.workspace for tenant, _ in batches[1])
    assert [sent[tenant.workspace] / 600 for tenant in TENANTS] == pytest.approx([s / 100 for s in SHARES], abs=0.05)


def test_people_come_by_zipf(batches) -> None:
    """With s = 1.1 over a million the first of them is 12 % of all, and most are seen once."""
    seen = Counter((t.workspace, e["anonymousId"]) for t, some in batches[1] for e in some)
    first = sum(count for (_, device), count in seen.items() if device == "device-0")
    assert first / len(events(batches)) == pytest.approx(0.12, abs=0.03)
    assert sum(count == 1 for count in seen.values()) > len(seen) / 2


def test_sizes_have_the_median_and_the_tail(batches) -> None:
    sizes = sorted(len(json.dumps(event, separators=(",", ":"))) for event in events(batches))
    assert sizes[len(sizes) // 2] == pytest.approx(500, rel=0.1)
    assert sizes[int(len(sizes) * 0.99)] == pytest.approx(8000, rel=0.25)


def test_repeats_lates_and_faults(batches) -> None:
    traffic, _ = batches
    sent = events(batches)
    count = len(sent)
    ids = {event["messageId"] for event in sent}
    faulty = [
        e
        for e in sent
        if e["type"] == "teleport" or (e["type"] == "track" and "event" not in e) or e.get("userId") == {}
    ]
    late = [e for e in sent if datetime.fromisoformat(e["timestamp"]) < NOW - timedelta(hours=1)]
    assert 1 - len(ids) / count == pytest.approx(0.01, abs=0.003)
    assert len(faulty) / count == pytest.approx(0.001, abs=0.001)
    assert len(late) / count == pytest.approx(0.005, abs=0.002)
    assert (traffic.events, traffic.stored) == (count, len(ids) - len(faulty))


def test_merges_join_a_device_that_was_anonymous(batches) -> None:
    """Such a login names a person and a device on which that person had only looked around."""
    first: dict[tuple[str, str], dict] = {}
    joined = set()
    for tenant, some in batches[1]:
        for event in some:
            key = (tenant.workspace, event["anonymousId"])
            before = first.setdefault(key, event)
            if event.get("userId") and event["anonymousId"].count("-") > 1:
                assert "userId" not in before
                joined.add(key)
    assert len(joined) / len(events(batches)) == pytest.approx(0.02, abs=0.005)
    known = sum(event["type"] == "identify" for event in events(batches)) / len(events(batches))
    assert known == pytest.approx(0.12, abs=0.01)  # with the merges


def test_the_same_seed_is_the_same_load_and_another_is_not() -> None:
    assert dataset(1, 500) == dataset(1, 500) != dataset(2, 500)
    one, other = (Traffic(TENANTS, run=run).batch(5, NOW)[1] for run in (1, 2))
    assert not {event["messageId"] for event in one} & {event["messageId"] for event in other}


def test_requests_count_what_is_in_them() -> None:
    traffic = Traffic(TENANTS)
    load = made(20, 10, traffic)
    bodies = [json.loads(one.partition(b"\r\n\r\n")[2])["batch"] for one in load.requests]
    assert sum(map(len, bodies)) == load.events == 200
    assert len({event["messageId"] for body in bodies for event in body}) >= load.stored
