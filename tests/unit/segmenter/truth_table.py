"""Every operator and every case of a rule once: who satisfies it, who does not, and how it reads in English.

The readings of a rule (match, sql, decide, describe, check) are all held to this one table.
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Any

from cdp_segmenter.rules.facts import Facts
from tests.fakes.segmenter import DAY, MS, NOW, did, profile


@dataclass(frozen=True)
class Case:
    name: str
    rule: dict[str, Any]
    yes: list[Facts]
    no: list[Facts]
    english: str


def traits(**values: Any) -> Facts:
    return profile(traits=values)


def is_(field: str, operator: str, value: Any = None) -> dict[str, Any]:
    condition = {"field": field, "operator": operator}
    return condition if value is None else {**condition, "value": value}


def everyone_of(*conditions: dict[str, Any]) -> dict[str, Any]:
    return {"operator": "AND", "conditions": list(conditions)}


NOTHING = profile()
ORDERS = "Order Completed"
HOUR = timedelta(hours=1)

TRAITS = [
    Case(
        "text equals, case matters, types are strict",
        is_("attributes.country", "=", "US"),
        [traits(country="US")],
        [traits(country="us"), traits(country="USA"), traits(country=5), traits(country=["US"]), NOTHING],
        'attributes.country is "US"',
    ),
    Case(
        "not equal holds for what is missing and for other types",
        is_("attributes.country", "!=", "US"),
        [traits(country="DE"), NOTHING, traits(country=None), traits(country=1), traits(country={})],
        [traits(country="US")],
        'attributes.country is not "US"',
    ),
    Case(
        "a country that only the address tells counts, as profiles show it",
        is_("attributes.country", "=", "IT"),
        [traits(address={"country": "IT"}), traits(country={}, address={"country": "IT"})],
        [traits(country="US", address={"country": "IT"}), traits(country=5, address={"country": "IT"}), NOTHING],
        'attributes.country is "IT"',
    ),
    Case(
        "and so does its city, also when it must not be there",
        is_("attributes.city", "exists", False),
        [traits(address={"country": "IT"}), traits(address="Rome"), NOTHING],
        [traits(address={"city": "Rome"}), traits(city="Rome"), traits(city="Rome", address={})],
        "attributes.city is not known",
    ),
    Case(
        "several cities of addresses",
        is_("attributes.city", "in", ["Rome", "Bari"]),
        [traits(address={"city": "Rome"}), traits(city="Bari", address={"city": "Pisa"})],
        [traits(city="Pisa", address={"city": "Rome"}), traits(city=["Pisa"], address={"city": "Rome"}), NOTHING],
        'attributes.city is one of "Rome", "Bari"',
    ),
    Case(
        "a number is not its text, and 5 is 5.0",
        is_("attributes.level", "=", 5),
        [traits(level=5), traits(level=5.0)],
        [traits(level="5"), traits(level=True), traits(level=6), traits(level=5.1), NOTHING],
        "attributes.level is 5",
    ),
    Case(
        "true is neither 1 nor a text",
        is_("attributes.vip", "=", True),
        [traits(vip=True)],
        [traits(vip=False), traits(vip=1), traits(vip="true"), NOTHING],
        "attributes.vip is yes",
    ),
    Case(
        "1 is not true",
        is_("attributes.vip", "=", 1),
        [traits(vip=1)],
        [traits(vip=True), NOTHING],
        "attributes.vip is 1",
    ),
    Case(
        "true or 1 are two conditions",
        {"operator": "OR", "conditions": [is_("attributes.vip", "=", True), is_("attributes.vip", "=", 1)]},
        [traits(vip=True), traits(vip=1)],
        [traits(vip=False), traits(vip="true"), NOTHING],
        "attributes.vip is yes or attributes.vip is 1",
    ),
    Case(
        "false is not missing",
        is_("attributes.vip", "=", False),
        [traits(vip=False)],
        [traits(vip=True), traits(vip=0), NOTHING],
        "attributes.vip is no",
    ),
    Case(
        "nor is 0 missing or false",
        is_("attributes.vip", "!=", 0),
        [traits(vip=False), NOTHING],
        [traits(vip=0), traits(vip=0.0)],
        "attributes.vip is not 0",
    ),
    Case(
        "more than, with fractions, without texts",
        is_("attributes.score", ">", 10.5),
        [traits(score=11), traits(score=10.500001), traits(score=18446744073709551615)],
        [traits(score=10.5), traits(score=-11), traits(score="11"), NOTHING],
        "attributes.score is more than 10.5",
    ),
    Case(
        "less than",
        is_("attributes.score", "<", 0),
        [traits(score=-0.1), traits(score=-9223372036854775808)],
        [traits(score=0), traits(score=3), NOTHING],
        "attributes.score is less than 0",
    ),
    Case(
        "at least",
        is_("attributes.score", ">=", 0.1),
        [traits(score=0.1), traits(score=1)],
        [traits(score=0.09), NOTHING],
        "attributes.score is at least 0.1",
    ),
    Case(
        "at most",
        is_("attributes.score", "<=", 1e9),
        [traits(score=1_000_000_000)],
        [traits(score=1_000_000_001), NOTHING],
        "attributes.score is at most 1,000,000,000",
    ),
    Case(
        "between takes both ends",
        is_("attributes.score", "between", [1, 2]),
        [traits(score=1), traits(score=2), traits(score=1.5)],
        [traits(score=0.999), traits(score=2.001), traits(score="1"), NOTHING],
        "attributes.score is between 1 and 2",
    ),
    Case(
        "contains part of a text, wildcards are literal",
        is_("attributes.note", "contains", "50%_"),
        [traits(note="a 50%_ b")],
        [traits(note="a 50% b"), traits(note="50xx"), traits(note="50%X"), NOTHING],
        'attributes.note contains "50%_"',
    ),
    Case(
        "contains an item of a list",
        is_("attributes.tags", "contains", "vip"),
        [traits(tags=["new", "vip"]), traits(tags=[1, "vip", True]), traits(tags="my vip tag")],
        [traits(tags=["vips"]), traits(tags=[]), traits(tags=["VIP"]), traits(tags=[["vip"]]), NOTHING],
        'attributes.tags contains "vip"',
    ),
    Case(
        "contains a number of a list",
        is_("attributes.sizes", "contains", 5),
        [traits(sizes=[4, 5]), traits(sizes=[5.0, 0.5]), traits(sizes=["x", 5]), traits(sizes=[5, None])],
        [traits(sizes=["5"]), traits(sizes=5), traits(sizes=[True]), NOTHING],
        "attributes.sizes contains 5",
    ),
    Case(
        "contains 1 in a list",
        is_("attributes.answers", "contains", 1),
        [traits(answers=[0, 1])],
        [traits(answers=[True]), traits(answers=["1"]), NOTHING],
        "attributes.answers contains 1",
    ),
    Case(
        "contains true in a list",
        is_("attributes.answers", "contains", True),
        [traits(answers=[False, True]), traits(answers=["x", True])],
        [traits(answers=[1]), traits(answers=["true"]), traits(answers=[False]), NOTHING],
        "attributes.answers contains yes",
    ),
    Case(
        "starts with",
        is_("attributes.plan", "starts_with", "Éco"),
        [traits(plan="École"), traits(plan="Éco")],
        [traits(plan="éco"), traits(plan="mon Éco"), NOTHING],
        'attributes.plan starts with "Éco"',
    ),
    Case(
        "matches a pattern anywhere, dot takes a line break",
        is_("attributes.email", "matches", r"@(acme|globex)\.com$|a.b"),
        [traits(email="x@acme.com"), traits(email="a\nb")],
        [traits(email="x@acme.com.evil"), traits(email="x@ACME.com"), NOTHING],
        r'attributes.email matches "@(acme|globex)\.com$|a.b"',
    ),
    Case(
        "in a list of several types",
        is_("attributes.code", "in", ["a", 5, True]),
        [traits(code="a"), traits(code=5.0), traits(code=True)],
        [traits(code="A"), traits(code="5"), traits(code=False), traits(code=1), traits(code=["a"]), NOTHING],
        'attributes.code is one of "a", 5, yes',
    ),
    Case(
        "nought with a sign in a list",
        is_("attributes.code", "in", [-0.0, 7]),
        [traits(code=0), traits(code=0.0), traits(code=-0.0)],
        [traits(code=1), traits(code="0"), traits(code=False), NOTHING],
        "attributes.code is one of 0, 7",
    ),
    Case(
        "in a list of the same values but for one's type",
        is_("attributes.code", "in", ["a", 5, 1]),
        [traits(code="a"), traits(code=1)],
        [traits(code=True), NOTHING],
        'attributes.code is one of "a", 5, 1',
    ),
    Case(
        "not in holds for what is missing",
        is_("attributes.code", "not_in", ["a", 5]),
        [NOTHING, traits(code="b"), traits(code="5")],
        [traits(code="a"), traits(code=5)],
        'attributes.code is none of "a", 5',
    ),
    Case(
        "exists: an empty text or list is something, null and {} are nothing",
        is_("attributes.thing", "exists", True),
        [traits(thing=""), traits(thing=0), traits(thing=False), traits(thing=[]), traits(thing={"a": {"b": 1}})],
        [NOTHING, traits(thing=None), traits(thing={}), traits(thing={"a": None, "b": {}}), traits(other=1)],
        "attributes.thing is known",
    ),
    Case(
        "exists without a value means true",
        is_("attributes.thing", "exists"),
        [traits(thing=1)],
        [NOTHING],
        "attributes.thing is known",
    ),
    Case(
        "exists false",
        is_("attributes.thing", "exists", False),
        [NOTHING, traits(thing=None)],
        [traits(thing="x")],
        "attributes.thing is not known",
    ),
    Case(
        "a nested thing exists",
        is_("attributes.a.b", "exists"),
        [traits(a={"b": 1}), traits(a={"b": {"c": 1}}), traits(a={"b": []})],
        [traits(a=1), traits(a="x"), traits(a={"c": 1}), traits(a={"b": None}), traits(a=[{"b": 1}]), NOTHING],
        "attributes.a.b is known",
    ),
    Case(
        "any of",
        is_("attributes.tags", "any", ["a", "b", 1]),
        [traits(tags=["b"]), traits(tags=[1.0]), traits(tags=["x", "a"])],
        [traits(tags=["1"]), traits(tags=[]), traits(tags="a"), NOTHING],
        'attributes.tags has any of "a", "b", 1',
    ),
    Case(
        "all of",
        is_("attributes.tags", "all", ["a", "b"]),
        [traits(tags=["b", "c", "a"])],
        [traits(tags=["a"]), traits(tags=[]), traits(tags="ab"), NOTHING],
        'attributes.tags has all of "a", "b"',
    ),
    Case(
        "all of several types",
        is_("attributes.tags", "all", ["a", 1, False]),
        [traits(tags=[False, "a", 1])],
        [traits(tags=["a", 1]), traits(tags=["a", 1, True])],
        'attributes.tags has all of "a", 1, no',
    ),
    Case(
        "a null in a list is no empty text, 0 or false",
        is_("attributes.tags", "any", ["", 0, False]),
        [traits(tags=[""]), traits(tags=[None, 0]), traits(tags=["x", False])],
        [
            traits(tags=[None]),
            traits(tags=["x", None]),
            traits(tags=[1, None]),
            traits(tags=[True, None, "x"]),
            NOTHING,
        ],
        'attributes.tags has any of "", 0, no',
    ),
    Case(
        "none of",
        is_("attributes.tags", "none", ["a", "b"]),
        [traits(tags=["c"]), traits(tags=[]), NOTHING],
        [traits(tags=["c", "a"])],
        'attributes.tags has none of "a", "b"',
    ),
    Case(
        "a nested trait, and one with a space",
        everyone_of(is_("attributes.address.city", "=", "Zürich"), is_("attributes.pet name", "=", "Rex")),
        [profile(traits={"address": {"city": "Zürich"}, "pet name": "Rex"})],
        [profile(traits={"address": "Zürich", "pet name": "Rex"}), NOTHING],
        'attributes.address.city is "Zürich" and attributes.pet name is "Rex"',
    ),
    Case(
        "a dot in a name is no path",
        is_("attributes.a.b", "=", 1),
        [traits(a={"b": 1})],
        [profile(traits={"a.b": 1}), profile(traits={"a": {"b.c": 1}}), NOTHING],
        "attributes.a.b is 1",
    ),
    Case(
        "custom fields are traits",
        is_("attributes.customFields.industry", "=", "Tech"),
        [traits(industry="Tech")],
        [NOTHING],
        'attributes.industry is "Tech"',
    ),
    Case(
        "a text that is a date compares by time",
        is_("attributes.renewal", ">=", "2026-02-01"),
        [
            traits(renewal="2026-02-01"),
            traits(renewal="2026-02-01T00:00:00Z"),
            traits(renewal="2026-01-31T23:30:00-01:00"),
        ],
        [
            *(traits(renewal="2026-01-31T23:59:59.999Z"), traits(renewal="2026-02-30"), traits(renewal="2026-2-1")),
            *(traits(renewal="soon"), traits(renewal=1_900_000_000_000), NOTHING),
        ],
        "attributes.renewal is on or after 2026-02-01T00:00:00Z",
    ),
    Case(
        "a date before 1970 between two",
        is_("attributes.birthday", "between", ["1960-01-01", "1969-12-31"]),
        [traits(birthday="1965-05-05"), traits(birthday="1969-12-31T00:00:00.000Z")],
        [traits(birthday="1969-12-31T00:00:00.001Z"), traits(birthday="1959-12-31"), NOTHING],
        "attributes.birthday is between 1960-01-01T00:00:00Z and 1969-12-31T00:00:00Z",
    ),
    Case(
        "within the last, the future is not",
        is_("attributes.signedUpAt", "within_last", "P30D"),
        [traits(signedUpAt="2026-10-21T12:00:00.001Z"), traits(signedUpAt="2026-11-20T12:00:00Z")],
        [traits(signedUpAt="2026-10-21T12:00:00Z"), traits(signedUpAt="2026-11-20T12:00:00.001Z"), NOTHING],
        "attributes.signedUpAt is within the last 30 days",
    ),
]

COMPUTED = [
    Case(
        "money compares in the major unit, to the cent",
        is_("computed.ltv", ">", 1000),
        [
            profile(ltv_minor=100_001),
            profile(ltv_minor=1001, currency="JPY"),
            profile(ltv_minor=1_000_001, currency="KWD"),
        ],
        [
            profile(ltv_minor=100_000),
            profile(ltv_minor=1000, currency="JPY"),
            profile(ltv_minor=1_000_000, currency="KWD"),
            NOTHING,
        ],
        "computed.ltv is more than 1,000",
    ),
    Case(
        "money equal, not bent by floats",
        is_("computed.ltv", "=", 0.3),
        [profile(ltv_minor=30)],
        [profile(ltv_minor=31), NOTHING],
        "computed.ltv is 0.3",
    ),
    Case(
        "money between and negative",
        is_("computed.ltv", "between", [-5.5, 0]),
        [profile(ltv_minor=-550), NOTHING],
        [profile(ltv_minor=-551), profile(ltv_minor=1)],
        "computed.ltv is between -5.5 and 0",
    ),
    Case(
        "money in and not",
        {"operator": "NOT", "conditions": [is_("computed.ltv", "in", [1, 2.5])]},
        [NOTHING, profile(ltv_minor=101)],
        [profile(ltv_minor=100), profile(ltv_minor=250)],
        "not (computed.ltv is one of 1, 2.5)",
    ),
    Case(
        "the average order is not rounded, and 0 without orders",
        is_("computed.aov", "<", 33.34),
        [profile(ltv_minor=10_000, order_count=3), NOTHING],
        [profile(ltv_minor=10_002, order_count=3), profile(ltv_minor=3334, order_count=1)],
        "computed.aov is less than 33.34",
    ),
    Case(
        "purchase count",
        is_("computed.purchaseCount", ">=", 3),
        [profile(order_count=3)],
        [profile(order_count=2), NOTHING],
        "computed.purchaseCount is at least 3",
    ),
    Case(
        "purchase count is not",
        is_("computed.purchaseCount", "!=", 0),
        [profile(order_count=1)],
        [NOTHING],
        "computed.purchaseCount is not 0",
    ),
    Case(
        "last purchase after a date; missing is not",
        is_("computed.lastPurchaseDate", ">", "2026-02-01"),
        [profile(last_order_at=NOW)],
        [profile(last_order_at=NOW.replace(month=2, day=1, hour=0)), NOTHING],
        "computed.lastPurchaseDate is after 2026-02-01T00:00:00Z",
    ),
    Case(
        "last purchase is known",
        is_("computed.lastPurchaseDate", "exists"),
        [profile(last_order_at=NOW)],
        [NOTHING],
        "computed.lastPurchaseDate is known",
    ),
    Case(
        "first seen within the last hour",
        is_("computed.firstSeenDate", "within_last", "PT1H"),
        [profile(first_seen=NOW), profile(first_seen=NOW - HOUR + MS)],
        [profile(first_seen=NOW - HOUR), NOTHING],
        "computed.firstSeenDate is within the last 1 hour",
    ),
    Case(
        "whole days since the last purchase",
        is_("computed.daysSinceLastPurchase", ">=", 30),
        [profile(last_order_at=NOW - 30 * DAY), profile(last_order_at=NOW - 31 * DAY)],
        [profile(last_order_at=NOW - 30 * DAY + MS), profile(last_order_at=NOW + DAY), NOTHING],
        "computed.daysSinceLastPurchase is at least 30",
    ),
    Case(
        "days round down, also for a purchase in the future",
        is_("computed.daysSinceLastPurchase", "=", -1),
        [profile(last_order_at=NOW + MS), profile(last_order_at=NOW + DAY)],
        [profile(last_order_at=NOW), profile(last_order_at=NOW + DAY + MS)],
        "computed.daysSinceLastPurchase is -1",
    ),
    Case(
        "currency",
        is_("computed.currency", "not_in", ["EUR", "CHF"]),
        [NOTHING],
        [profile(currency="EUR")],
        'computed.currency is none of "EUR", "CHF"',
    ),
    Case(
        "consent given",
        is_("consent.email", "=", True),
        [profile(consent={"email": True})],
        [profile(consent={"email": False}), profile(consent={"sms": True}), NOTHING],
        "consent.email is yes",
    ),
    Case(
        "consent not refused",
        is_("consent.email", "!=", False),
        [profile(consent={"email": True}), NOTHING],
        [profile(consent={"email": False})],
        "consent.email is not no",
    ),
    Case(
        "consent asked",
        is_("consent.email", "exists", False),
        [NOTHING],
        [profile(consent={"email": False})],
        "consent.email is not known",
    ),
    Case(
        "one of several identifiers satisfies",
        is_("identifiers.email", "contains", "@acme."),
        [profile(identifiers={"email": ("x@home.org", "y@acme.com")})],
        [profile(identifiers={"email": ("acme@x.org",)}), profile(identifiers={"phone": ("@acme.",)}), NOTHING],
        'identifiers.email contains "@acme."',
    ),
    Case(
        "no identifier is",
        is_("identifiers.email", "!=", "a@b.c"),
        [profile(identifiers={"email": ("x@y.z",)}), NOTHING],
        [profile(identifiers={"email": ("x@y.z", "a@b.c")})],
        'identifiers.email is not "a@b.c"',
    ),
    Case(
        "identifiers: all of, matches, exists",
        everyone_of(
            is_("identifiers.email", "all", ["a@b.c", "d@e.f"]),
            is_("identifiers.email", "matches", "^a"),
            is_("identifiers.phone", "exists", False),
        ),
        [profile(identifiers={"email": ("a@b.c", "d@e.f", "x")})],
        [
            profile(identifiers={"email": ("a@b.c",)}),
            profile(identifiers={"email": ("a@b.c", "d@e.f"), "phone": ("1",)}),
        ],
        'identifiers.email has all of "a@b.c", "d@e.f" and identifiers.email matches "^a" '
        "and identifiers.phone is not known",
    ),
]


def buyer(*events: Any) -> Facts:
    return profile(events=events)


def cart(*prices: float, **item: Any) -> dict[str, Any]:
    return {"products": [{"sku": f"s{index}", "price": price, **item} for index, price in enumerate(prices)]}


EVENTS = [
    Case(
        "at least once, ever, under every name of the type",
        {"event": "purchase"},
        [buyer(did(ORDERS, 900 * DAY)), buyer(did("Completed Order"))],
        [buyer(did("Order Refunded")), buyer(did("order completed")), NOTHING],
        'did "purchase" at least 1 time',
    ),
    Case(
        "the seed's shorthand: at least three times in 90 days",
        {"event": "purchase", "count": {"min": 3}, "timeWindow": 90},
        [buyer(did(ORDERS), did(ORDERS), did("Completed Order", 90 * DAY - MS))],
        [buyer(did(ORDERS), did(ORDERS), did(ORDERS, 90 * DAY)), NOTHING],
        'did "purchase" at least 3 times in the last 90 days',
    ),
    Case(
        "never did",
        {"event": "Signed In", "count": {"max": 0}},
        [NOTHING, buyer(did("Signed Out"))],
        [buyer(did("Signed In"))],
        'did "Signed In" never',
    ),
    Case(
        "at most twice, so never counts",
        {"event": "Signed In", "count": {"max": 2}},
        [NOTHING, buyer(did("Signed In"), did("Signed In"))],
        [buyer(*[did("Signed In")] * 3)],
        'did "Signed In" at most 2 times',
    ),
    Case(
        "between two counts",
        {"event": "Signed In", "count": {"min": 1, "max": 2}, "window": "PT1H"},
        [buyer(did("Signed In", HOUR - MS)), buyer(did("Signed In", MS), did("Signed In", MS), did("Signed In", HOUR))],
        [buyer(did("Signed In", HOUR)), buyer(*[did("Signed In", MS)] * 3), NOTHING],
        'did "Signed In" 1 to 2 times in the last 1 hour',
    ),
    Case(
        "exactly, in the flat form",
        {"event": "Signed In", "aggregate": "count", "operator": "=", "value": 2},
        [buyer(did("Signed In"), did("Signed In"))],
        [buyer(did("Signed In")), NOTHING],
        'did "Signed In" exactly 2 times',
    ),
    Case(
        "one of several events, counted together",
        {"event": ["Email Opened", "Email Link Clicked"], "count": 2},
        [buyer(did("Email Opened"), did("Email Link Clicked"))],
        [buyer(did("Email Opened")), NOTHING],
        'did "Email Opened" or "Email Link Clicked" at least 2 times',
    ),
    Case(
        "an event stamped in the future counts",
        {"event": "Signed In", "window": "P1D"},
        [buyer(did("Signed In", -HOUR))],
        [NOTHING],
        'did "Signed In" at least 1 time in the last 1 day',
    ),
    Case(
        "a sum is exact where floats are not",
        {"event": ORDERS, "sum": {"property": "revenue", "operator": "=", "value": 0.3}},
        [buyer(did(ORDERS, revenue=0.1), did(ORDERS, revenue=0.2)), buyer(did(ORDERS, revenue=0.3))],
        [buyer(did(ORDERS, revenue=0.300001)), NOTHING],
        f'the sum of revenue over "{ORDERS}" is 0.3',
    ),
    Case(
        "a sum takes numbers only",
        {"event": ORDERS, "sum": {"property": "totals.net", "min": 100}, "window": "P30D"},
        [
            buyer(did(ORDERS, totals={"net": 150}), did(ORDERS, totals={"net": -50})),
            buyer(did(ORDERS, totals={"net": 1e11})),
        ],
        [buyer(did(ORDERS, totals={"net": "100"})), buyer(did(ORDERS, totals={"net": True})), NOTHING],
        f'the sum of totals.net over "{ORDERS}" in the last 30 days is at least 100',
    ),
    Case(
        "the sum of nothing is 0",
        {"event": ORDERS, "sum": {"property": "revenue", "max": 10}},
        [NOTHING, buyer(did(ORDERS, revenue=10))],
        [buyer(did(ORDERS, revenue=10.01))],
        f'the sum of revenue over "{ORDERS}" is at most 10',
    ),
    Case(
        "the last time within a week",
        {"event": ORDERS, "last": {"operator": "within_last", "value": "P7D"}},
        [buyer(did(ORDERS, 300 * DAY), did(ORDERS, 7 * DAY - MS))],
        [buyer(did(ORDERS, 7 * DAY)), NOTHING],
        f'the last "{ORDERS}" is within the last 7 days',
    ),
    Case(
        "the first time before a date",
        {"event": ORDERS, "first": {"operator": "<", "value": "2026-01-01"}},
        [buyer(did(ORDERS, 400 * DAY), did(ORDERS))],
        [buyer(did(ORDERS)), NOTHING],
        f'the first "{ORDERS}" is before 2026-01-01T00:00:00Z',
    ),
    Case(
        "no event for a week, having had one",
        everyone_of({"event": ORDERS}, {"operator": "NOT", "conditions": [{"event": ORDERS, "window": "P7D"}]}),
        [buyer(did(ORDERS, 7 * DAY))],
        [buyer(did(ORDERS, 7 * DAY - MS)), NOTHING],
        f'did "{ORDERS}" at least 1 time and not (did "{ORDERS}" at least 1 time in the last 7 days)',
    ),
    Case(
        "filtered by a property",
        {"event": ORDERS, "filters": [{"property": "category", "operator": "=", "value": "shoes"}]},
        [buyer(did(ORDERS, category="shoes"), did(ORDERS, category="hats"))],
        [buyer(did(ORDERS, category="Shoes")), buyer(did(ORDERS)), NOTHING],
        f'did "{ORDERS}" where category is "shoes" at least 1 time',
    ),
    Case(
        "filters in groups",
        {
            "event": ORDERS,
            "count": {"min": 2},
            "filters": {
                "operator": "OR",
                "conditions": [
                    {"property": "coupon", "operator": "exists", "value": False},
                    {"property": "revenue", "operator": "between", "value": [10, 20]},
                ],
            },
        },
        [buyer(did(ORDERS), did(ORDERS, coupon="X", revenue=15)), buyer(did(ORDERS), did(ORDERS, coupon=None))],
        [buyer(did(ORDERS), did(ORDERS, coupon="X", revenue=5)), buyer(did(ORDERS, coupon="X", revenue="15")), NOTHING],
        f'did "{ORDERS}" where coupon is not known or revenue is between 10 and 20 at least 2 times',
    ),
    Case(
        "an event whose filter is missing satisfies only the opposites",
        {
            "event": ORDERS,
            "filters": [{"operator": "NOT", "conditions": [{"property": "a", "operator": ">", "value": 1}]}],
        },
        [buyer(did(ORDERS)), buyer(did(ORDERS, a="2"))],
        [buyer(did(ORDERS, a=2)), NOTHING],
        f'did "{ORDERS}" where not (a is more than 1) at least 1 time',
    ),
    Case(
        "any item inside products",
        {
            "event": "Product Added",
            "filters": [
                {
                    "property": "products[]",
                    "operator": "any",
                    "where": [
                        {"property": "price", "operator": ">", "value": 100},
                        {"property": "color", "operator": "=", "value": "red"},
                    ],
                }
            ],
        },
        [buyer(did("Product Added", **cart(5, 101, color="red")))],
        [
            buyer(did("Product Added", products=[{"price": 101, "color": "blue"}, {"price": 1, "color": "red"}])),
            *(buyer(did("Product Added", products={"price": 101, "color": "red"})), NOTHING),
        ],
        'did "Product Added" where at least one of products has (price is more than 100 and color is "red") '
        "at least 1 time",
    ),
    Case(
        "all items, of which there must be one",
        {
            "event": ORDERS,
            "filters": [
                {
                    "property": "products[]",
                    "operator": "all",
                    "where": [{"property": "price", "operator": "<", "value": 10}],
                }
            ],
        },
        [buyer(did(ORDERS, **cart(1, 9.99)))],
        [buyer(did(ORDERS, **cart(1, 10))), buyer(did(ORDERS, products=[])), buyer(did(ORDERS)), NOTHING],
        f'did "{ORDERS}" where every one of products has (price is less than 10) at least 1 time',
    ),
    Case(
        "none of the items",
        {
            "event": ORDERS,
            "filters": [
                {
                    "property": "products[]",
                    "operator": "none",
                    "where": [{"property": "price", "operator": "<", "value": 10}],
                }
            ],
        },
        [buyer(did(ORDERS, **cart(10, 11))), buyer(did(ORDERS, products=[])), buyer(did(ORDERS))],
        [buyer(did(ORDERS, **cart(10, 9))), NOTHING],
        f'did "{ORDERS}" where none of products has (price is less than 10) at least 1 time',
    ),
    Case(
        "the short form, and items of items",
        {"event": ORDERS, "filters": [{"property": "products[].tags[]", "operator": "starts_with", "value": "eco"}]},
        [buyer(did(ORDERS, products=[{"tags": []}, {"tags": ["x", "eco-1"]}]))],
        [buyer(did(ORDERS, products=[{"tags": ["neco"]}])), buyer(did(ORDERS, products=[{"tags": "eco"}])), NOTHING],
        f'did "{ORDERS}" where at least one of products has (at least one of tags has (the item starts with "eco")) '
        "at least 1 time",
    ),
    *(
        Case(
            f"{shown} of an item is of its own type",
            {"event": ORDERS, "filters": [{"property": "products[].gift", "operator": "=", "value": value}]},
            [buyer(did(ORDERS, products=[{"gift": 0}, {"gift": value}]))],
            [buyer(did(ORDERS, products=[{"gift": other}])), NOTHING],
            f'did "{ORDERS}" where at least one of products has (gift is {shown}) at least 1 time',
        )
        for value, other, shown in ((True, 1, "yes"), (1, True, "1"))
    ),
    Case(
        "lists and texts of properties",
        {
            "event": ORDERS,
            "filters": [
                {"property": "tags", "operator": "any", "value": ["a", 2]},
                {"property": "note", "operator": "contains", "value": 'say "hi\\'},
                {"property": "at", "operator": "<", "value": "2026-01-01"},
                {"property": "kind", "operator": "not_in", "value": ["x", True]},
                {"property": "more", "operator": "exists"},
            ],
        },
        [
            buyer(did(ORDERS, tags=[2], note='I say "hi\\ ä', at="2025-12-31T23:00:00Z", more={"a": 1})),
            buyer(did(ORDERS, tags=["z", "a"], note='say "hi\\', at="2025-12-31", kind=1, more=False)),
        ],
        [
            buyer(did(ORDERS, tags=["a"], note='say "hi\\', at="2026-01-01", more=1)),
            buyer(did(ORDERS, tags=["a"], note='say "hi\\', at="2025-01-01", more={"a": None})),
            buyer(did(ORDERS, tags=["a"], note='say "hi\\', at="2025-01-01", kind=True, more=1)),
            buyer(did(ORDERS, tags="a", note='say "hi\\', at="2025-01-01", more=1)),
        ],
        f'did "{ORDERS}" where tags has any of "a", 2 and note contains "say "hi\\" and at is before '
        '2026-01-01T00:00:00Z and kind is none of "x", yes and more is known at least 1 time',
    ),
]

GROUPS = [
    Case(
        "groups inside groups",
        {
            "operator": "OR",
            "conditions": [
                everyone_of(is_("attributes.a", "=", 1), is_("attributes.b", "=", 1)),
                {"operator": "NOT", "conditions": [is_("attributes.c", "=", 1), is_("attributes.d", "=", 1)]},
            ],
        },
        [traits(a=1, b=1, c=1), NOTHING],
        [traits(c=1), traits(d=1), traits(a=1, c=1, d=1)],
        "(attributes.a is 1 and attributes.b is 1) or not (attributes.c is 1 or attributes.d is 1)",
    ),
    Case(
        "a member of another segment",
        {"segment": "segment-manual"},
        [profile(segments=frozenset({"segment-manual"}))],
        [profile(segments=frozenset({"segment-other"})), NOTHING],
        "is a member of segment-manual",
    ),
    Case(
        "no member of another segment",
        {"segment": "segment-manual", "operator": "not_in"},
        [NOTHING],
        [profile(segments=frozenset({"segment-manual"}))],
        "not (is a member of segment-manual)",
    ),
]

CASES = [*TRAITS, *COMPUTED, *EVENTS, *GROUPS]
