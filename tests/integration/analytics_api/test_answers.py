"""Events, timelines, totals, usage and funnels over HTTP: exact, paged, of one workspace only."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any
from uuid import UUID, uuid4

import pytest

from cdp_analytics_api.notation import to_millis
from cdp_clickhouse.client import ClickHouse
from cdp_schemas.profiles import profile_ref

from .conftest import ADA, EventRow, FrontDoor, insert_aliases, insert_events

pytestmark = [pytest.mark.postgres, pytest.mark.clickhouse, pytest.mark.redis, pytest.mark.kafka]
NOW_MS = to_millis(datetime.now(UTC))
PHONE = UUID("bbbbbbbb-0000-4000-8000-00000000000b")
GRACE = UUID("cccccccc-0000-4000-8000-00000000000c")
PROFILE_COLUMNS = (
    *("workspace_id", "profile_id", "version", "deleted", "created_at", "updated_at", "first_seen", "last_seen"),
    *("identifiers", "traits", "consent", "currency", "ltv_minor", "refunded_minor", "order_count"),
)


def profile(workspace: str, profile_id: UUID, **facts: Any) -> tuple[Any, ...]:
    at = facts.get("created_ms", NOW_MS)
    version, deleted = facts.get("version", 1), facts.get("deleted", 0)
    head = (
        workspace,
        profile_id,
        version,
        deleted,
        at,
        at,
        at,
        at,
        {},
        facts.get("traits", {}),
        facts.get("consent", {}),
    )
    return (*head, facts.get("currency", "USD"), facts.get("ltv", 0), 0, facts.get("orders", 0))


async def insert_profiles(store: ClickHouse, rows: list[tuple[Any, ...]]) -> None:
    await store.insert("profiles", PROFILE_COLUMNS, list(zip(*rows, strict=True)), token=uuid4().hex)


@pytest.fixture(scope="session")
async def shop(store: ClickHouse, door: FrontDoor) -> FrontDoor:
    """Ada on two devices, Grace once, and a stranger's workspace beside them."""
    ada, grace = {"email": True, "sms": False}, {"email": False}
    identified: dict[str, Any] = {"call": "identify", "traits": {"email": "ada@example.com"}}
    us, canada = {"country": "US"}, {"address": {"country": "CA"}}
    order = {"orderId": "O-1", "total": 249.99, "currency": "USD", "products": [{"sku": "a"}, {"sku": "b"}]}
    minute = 60_000
    await insert_events(
        store,
        [
            EventRow("acme", "Page Viewed", PHONE, NOW_MS - 9 * minute, {"path": "/"}, call="page", offset=1),
            EventRow("acme", "Product Viewed", PHONE, NOW_MS - 8 * minute, {"name": "Lamp", "price": 20}, offset=2),
            EventRow("acme", "Product Added", ADA, NOW_MS - 7 * minute, {"name": "Lamp"}, offset=3),
            EventRow("acme", "Order Completed", ADA, NOW_MS - 6 * minute, order, offset=4, partition=1),
            EventRow("acme", "identify", ADA, NOW_MS - 6 * minute, **identified, offset=5),
            EventRow("acme", "Page Viewed", GRACE, NOW_MS - 5 * minute, {"path": "/b"}, call="page", offset=6),
            EventRow("acme", "Product Viewed", GRACE, NOW_MS - 4 * minute, {"name": "Desk", "price": 5}, offset=7),
            EventRow("acme", "Chair Sat On", GRACE, NOW_MS - 3 * minute, {"legs": 4}, offset=8),
            EventRow("rival", "Order Completed", ADA, NOW_MS - minute, {"orderId": "secret"}, offset=9),
        ],
    )
    await insert_aliases(store, "acme", {PHONE: ADA})
    old = NOW_MS - 3 * 86_400_000
    await insert_profiles(
        store,
        [
            profile("acme", ADA, ltv=1, orders=9),
            profile("acme", ADA, version=2, ltv=24_999, orders=1, traits=us, consent=ada),
            profile("acme", GRACE, ltv=1_000, orders=2, created_ms=old, traits=us, consent=grace),
            profile("acme", uuid4(), ltv=1_001, orders=0, traits=canada),
            profile("acme", uuid4(), currency="JPY", ltv=5_000, orders=1),
            profile("acme", uuid4(), deleted=1, version=7, ltv=99_999),
            profile("rival", uuid4(), ltv=777),
        ],
    )
    return door


async def listed(door: FrontDoor, path: str, token: str = "everything", **query: Any) -> list[dict[str, Any]]:
    answer = await door.get(path, token=token, **query)
    assert answer.status_code == 200, answer.text
    items: list[dict[str, Any]] = answer.json()["data"]["items"]
    return items


async def test_events_are_listed_newest_first_with_their_profile(shop: FrontDoor) -> None:
    items = await listed(shop, "/events")
    names = [item["event"] for item in items]
    assert names[:3] == ["Chair Sat On", "Product Viewed", "Page Viewed"]
    assert names[3:5] == ["Order Completed", "identify"], "the same millisecond: by place in the log"
    viewed = items[-1]
    assert viewed["profileId"] == profile_ref(ADA), "the phone's node belongs to Ada"
    assert viewed["type"] == "page_view"
    assert [item["type"] for item in items].count("custom") == 1


async def test_pages_join_without_gap_or_repeat(shop: FrontDoor) -> None:
    whole = [item["id"] for item in await listed(shop, "/events")]
    paged: list[str] = []
    cursor = None
    for _ in range(10):
        data = (await shop.get("/events", limit=3, **({"cursor": cursor} if cursor else {}))).json()["data"]
        paged += [item["id"] for item in data["items"]]
        cursor = data["nextCursor"]
        if cursor is None:
            break
    assert paged == whole
    assert len(paged) == 8


@pytest.mark.parametrize(
    ("query", "count"),
    [
        ({"type": "purchase"}, 1),
        ({"type": "page_view"}, 2),
        ({"type": "custom"}, 1),
        ({"type": "identify"}, 1),
        ({"event": "Viewed Product"}, 2),  # an older name of Product Viewed
        ({"profileId": "email:ada@example.com"}, 5),
        ({"profileId": profile_ref(ADA), "type": "add_to_cart"}, 1),
        ({"startDate": (datetime.now(UTC) - timedelta(minutes=4, seconds=30)).isoformat()}, 2),
        ({"endDate": "2020-01-01"}, 0),
    ],
)
async def test_events_are_filtered(shop: FrontDoor, query: dict[str, Any], count: int) -> None:
    assert len(await listed(shop, "/events", **query)) == count


@pytest.mark.parametrize(
    ("query", "path"),
    [
        ({"type": "sneeze"}, "type"),
        ({"limit": 5000}, "limit"),
        ({"cursor": "nonsense"}, "cursor"),
        ({"startDate": "2026-02-15T101:30:00.000Z"}, "startDate"),
        ({"startDate": "2026-02-15", "endDate": "2026-02-01"}, "startDate"),
    ],
)
async def test_a_bad_question_names_its_field(shop: FrontDoor, query: dict[str, Any], path: str) -> None:
    answer = await shop.get("/events", **query)
    assert answer.status_code == 422
    assert answer.json()["error"]["details"][0]["path"] == path


async def test_another_workspace_sees_none_of_it(shop: FrontDoor) -> None:
    items = await listed(shop, "/events", token="stranger")
    assert [item["properties"].get("orderId") for item in items] == ["secret"]
    stats = (await shop.get("/stats", token="stranger")).json()["data"]
    assert (stats["totalProfiles"], stats["totalEvents"]) == (1, 1)
    funnel = {"steps": [{"event": "page_view"}, {"event": "product_view"}]}
    counted = (await shop.post("/analytics/funnel", funnel, token="stranger")).json()["data"]
    assert counted["entered"] == 0


async def test_personal_values_are_hidden_without_their_scope(shop: FrontDoor) -> None:
    seen = (await listed(shop, "/events", type="identify"))[0]
    hidden = (await listed(shop, "/events", token="reader", type="identify"))[0]
    assert seen["traits"] == {"email": "ada@example.com"}
    assert hidden["traits"] == {"email": "***"}


async def test_a_timeline_reads_like_a_story(shop: FrontDoor) -> None:
    items = await listed(shop, "/profiles/email:ada@example.com/timeline")
    assert [item["summary"] for item in items] == [
        "Bought 2 products for 249.99 USD",
        "Was identified",
        "Put in the cart: Lamp",
        "Looked at Lamp",
        "Viewed /",
    ]
    assert (await shop.get("/profiles/email:nobody@example.com/timeline")).status_code == 404


async def test_stats_and_overview_are_exact(shop: FrontDoor) -> None:
    stats = (await shop.get("/stats")).json()["data"]
    assert (stats["totalProfiles"], stats["totalEvents"]) == (4, 8)
    assert stats["profilesCreatedToday"] == 3
    overview = (await shop.get("/analytics/overview")).json()["data"]
    assert overview["averageLtv"] == 90.0, "(249.99 + 10.00 + 10.01) / 3"
    assert overview["currency"] == "USD"
    by_currency = {row["currency"]: (row["totalLtv"], row["averageLtv"]) for row in overview["revenue"]}
    assert by_currency == {"USD": (270.0, 90.0), "JPY": (5000.0, 5000.0)}
    assert overview["averagePurchaseCount"] == 1.0
    assert overview["consentRate"] == {"email": 25.0, "sms": 0.0}
    assert overview["topCountries"] == [{"country": "US", "count": 2}, {"country": "CA", "count": 1}]


async def test_retention_is_by_profile_and_within_the_workspace(shop: FrontDoor) -> None:
    question = {"startEvent": "page_view", "returnEvent": "Order Completed", "weeks": 1}
    for token, expected in (("everything", (2, [1])), ("stranger", (0, [0]))):
        (week,) = (await shop.post("/analytics/cohorts", question, token=token)).json()["data"]["weeks"]
        assert (week["profiles"], week["retained"]) == expected, token
    assert (await shop.post("/analytics/cohorts", {"weeks": 53})).status_code == 422


async def test_usage_accounts_per_source_and_minute(shop: FrontDoor) -> None:
    items = await listed(shop, "/usage")
    assert sum(item["stored"] for item in items) == 8
    assert all(item["accepted"] is None and item["inFlight"] is None for item in items), "no gateway here to ask"
    assert {item["sourceId"] for item in items} == {"web"}


async def test_usage_of_a_period_that_ends_with_a_minute_has_all_of_it(shop: FrontDoor) -> None:
    first, *_ = await listed(shop, "/usage")
    assert await listed(shop, "/usage", startDate=first["minute"], endDate=first["minute"]) == [first]
    later = first["minute"].replace(":00.000Z", ":00.500Z")
    assert later != first["minute"]
    assert first not in await listed(shop, "/usage", startDate=later)


async def test_a_funnel_follows_profiles_over_their_devices(shop: FrontDoor) -> None:
    question = {
        "name": "Purchase Funnel",
        "steps": [{"event": "page_view"}, {"event": "product_view"}, {"event": "add_to_cart"}, {"event": "purchase"}],
        "timeWindow": "PT1H",
        "breakdown": "path",
    }
    data = (await shop.post("/analytics/funnel", question)).json()["data"]
    assert [step["count"] for step in data["steps"]] == [2, 2, 1, 1]
    assert [step["dropOff"] for step in data["steps"]] == [0, 0, 1, 0]
    assert data["conversionRate"] == 50.0
    assert data["steps"][3]["medianTimeToConvert"] == 180.0
    assert {branch["value"]: branch["conversionRate"] for branch in data["breakdown"]} == {"/": 100.0, "/b": 0.0}
    short = (await shop.post("/analytics/funnel", {**question, "timeWindow": 120, "timeToConvert": False})).json()[
        "data"
    ]
    assert [step["count"] for step in short["steps"]] == [2, 2, 1, 0]
    dear = {"event": "product_view", "filters": [{"property": "price", "operator": ">", "value": 10}]}
    filtered = {"steps": [{"event": "page_view"}, dear]}
    assert (await shop.post("/analytics/funnel", filtered)).json()["data"]["converted"] == 1


async def test_a_funnel_compares_with_as_many_and_as_long_texts_as_may_be_asked(shop: FrontDoor) -> None:
    long = ["ж" * 996 + f"{number:04}" for number in range(999)]
    home = {"event": "page_view", "filters": [{"property": "path", "operator": "in", "value": [*long, "/"]}]}
    answer = await shop.post("/analytics/funnel", {"steps": [home, {"event": "product_view"}]})
    assert answer.status_code == 200, answer.text
    assert answer.json()["data"]["steps"][0]["count"] == 1


async def test_a_breakdown_hides_personal_values_and_is_on_record(shop: FrontDoor) -> None:
    question = {"steps": [{"event": "product_view"}, {"event": "purchase"}], "breakdown": "name"}

    async def recorded() -> int:
        async with shop.pool.connection() as connection:
            asked = "SELECT count(*) FROM front.audit WHERE route LIKE '%%/analytics/funnel' AND workspace_id = %s"
            row = await (await connection.execute(asked, ("acme",))).fetchone()
        return int(row[0]) if row else 0

    before = await recorded()
    for token, values in (("everything", ["Desk", "Lamp"]), ("reader", ["***", "***"])):
        data = (await shop.post("/analytics/funnel", question, token=token)).json()["data"]
        assert [branch["value"] for branch in data["breakdown"]] == values, token
    assert await recorded() == before + 2
