"""What the front door answers of the million profiles -> whether it is right, by SQL that a person would write.

A wrong answer is quick: a row of P17 that is asked for profiles and gets others measures nothing.
"""

import random
from collections.abc import Mapping, Sequence
from typing import Any, Final

import psycopg
from psycopg.types.json import Jsonb

from bench.generator import DEMO, SEED
from bench.whole import Whole, api
from cdp_schemas.profiles import parse_profile_ref

PAGE: Final = 50  # profiles of a search, unless it says otherwise
_SEARCHES, _GETS = 12, 12
# each condition of a search as a person would write it
_BY_HAND: Final[Mapping[str, str]] = {
    "country": "traits ->> 'country' = %(country)s",
    "plan": "traits ->> 'plan' = %(plan)s",
    "tags": "traits -> 'tags' @> %(tags)s::jsonb",
    "email": "position(%(email)s IN traits ->> 'email') > 0",
    "minLtv": "ltv_minor >= %(minLtv)s * 100",
    "maxLtv": "ltv_minor <= %(maxLtv)s * 100",
    "emailConsent": "(consent ->> 'email')::boolean = %(emailConsent)s",
    "smsConsent": "(consent ->> 'sms')::boolean = %(smsConsent)s",
}


def require_right_answers(whole: Whole, somebody: Any, conditions: Any) -> None:
    """Raises AssertionError for the first wrong one. ``somebody`` and ``conditions`` draw what P17 asks for."""
    chance = random.Random(SEED + 1)
    for _ in range(_GETS):
        who = somebody(chance)
        require_profile(who, _answer(whole, "GET", f"/profiles/{who}"))
    with psycopg.connect(whole.stack.postgres_url) as connection:
        for _ in range(_SEARCHES):
            asked = conditions(chance)
            require_found(asked, _answer(whole, "POST", "/profiles/search", json=asked)["profiles"], connection)
    people = int(whole.ask(f"SELECT count() FROM cdp.profiles FINAL WHERE workspace_id = '{DEMO.workspace}'"))
    # the numbers are as old as they may be
    whole.stack.until(
        "the dashboard counts everybody",
        lambda: _answer(whole, "GET", "/analytics/overview")["totalProfiles"],
        lambda total: total == people,
    )


def require_profile(who: str, profile: Mapping[str, Any]) -> None:
    """Whoever was asked for by user id or email is given."""
    kind, _, value = who.partition(":")
    found = profile["externalIds"].get("userId") if kind == "user_id" else profile["attributes"].get("email")
    assert found == value, f"GET {who} gave {found}"


def require_found(asked: Mapping[str, Any], found: Sequence[Mapping[str, Any]], connection: Any) -> None:
    """Everybody on the page satisfies all conditions, and the page is full, or has all that do."""
    flat: dict[str, Any] = {**asked, **asked.get("attributes", {})}
    flat.pop("attributes", None)
    where = " AND ".join(["workspace_id = %(workspace)s AND version > 0", *(_BY_HAND[name] for name in flat)])
    ids = [parse_profile_ref(one["id"]) for one in found]
    values = {**flat, "workspace": DEMO.workspace, "ids": ids, "page": PAGE}
    if "tags" in flat:
        values["tags"] = Jsonb(flat["tags"])
    among = f"SELECT count(*) FROM identity.profiles WHERE {where} AND profile_id = ANY(%(ids)s)"
    good = _count(connection, among, values)
    assert good == len(set(ids)) == len(found), f"{asked}: {len(found) - good} of {len(found)} are not asked for"
    all_of_them = f"SELECT count(*) FROM (SELECT FROM identity.profiles WHERE {where} LIMIT %(page)s) AS first"
    expected = _count(connection, all_of_them, values)
    assert len(found) == expected, f"{asked}: {len(found)} found, there are {expected} or more"


def _count(connection: Any, question: str, values: Mapping[str, Any]) -> int:
    return int(connection.execute(question, values).fetchone()[0])


def _answer(whole: Whole, method: str, path: str, **options: Any) -> Any:
    answer = api(whole.stack, DEMO, method, path, **options)
    assert answer.is_success, f"{method} {path}: {answer.status_code} {answer.text}"
    return answer.json()["data"]
