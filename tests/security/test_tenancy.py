"""Nothing of one workspace reaches another: not by id, reference, cursor, key, stream, cache, table or destination."""

import itertools
import json
import re
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NamedTuple
from urllib.parse import quote, unquote, urlsplit

import httpx
import psycopg
import pytest
from psycopg import sql
from websockets.sync.client import connect

from tests.millrace import Millrace
from tests.security.tenants import Tenant

pytestmark = pytest.mark.stack
PREFIX = "/api/cdp"
Tenants = tuple[Tenant, Tenant]
RULES = {"field": "attributes.plan", "operator": "=", "value": "x"}
# a body that would do something, were the id in the path or in it one's own
BODIES: dict[str, dict[str, Any]] = {
    "POST /audiences": {"name": "mine", "segmentIds": ["{id}"]},
    "PUT /audiences/{audience_id}": {"name": "mine", "segmentIds": ["{id}"]},
    "POST /audiences/{audience_id}/activate": {"operation": "replace"},
    "POST /audiences/{audience_id}/pause": {},
    "POST /destinations": {"name": "mine", "type": "webhook", "settings": {"url": "https://{id}/"}, "credentials": {}},
    "PUT /destinations/{destination_id}": {"name": "mine", "enabled": False},
    "POST /suppressions": {"kind": "profile_id", "value": "{id}", "destinationId": "{id}"},
    "POST /profiles/search": {"attributes": {"plan": "{id}"}},
    "PUT /profiles/{ref}": {"firstName": "Mine"},
    "POST /consent": {"profileId": "{id}", "email": False},
    "POST /segments/preview": {"rules": {"segment": "{id}"}},
    "POST /segments": {"name": "mine", "rules": {"segment": "{id}"}},
    "PUT /segments/{segment_id}": {"name": "mine", "rules": RULES},
    "POST /segments/{segment_id}/members": {"profileIds": ["{id}"]},
    "POST /analytics/cohorts": {"startEvent": "{id}"},
    "POST /analytics/funnel": {"steps": [{"event": "{id}"}, {"event": "Order Completed"}]},
    "POST /events": {"type": "custom", "event": "x", "profileId": "{id}"},
    "POST /events/batch": {"events": [{"type": "custom", "event": "x", "profileId": "{id}"}]},
    "POST /profiles": {"firstName": "{id}"},
}


class Operation(NamedTuple):
    """One operation of the OpenAPI document, its path without the prefix."""

    method: str
    path: str
    query: tuple[str, ...]
    has_body: bool

    @property
    def name(self) -> str:
        return f"{self.method} {self.path}"


def operations(millrace: Millrace) -> Iterator[Operation]:
    document = httpx.get(f"http://127.0.0.1:{millrace.ports['API']}/openapi.json").json()
    for path, item in document["paths"].items():
        for method, entry in item.items():
            query = tuple(one["name"] for one in entry.get("parameters", []) if one["in"] == "query")
            yield Operation(method.upper(), path.removeprefix(PREFIX), query, "requestBody" in entry)


def leaked(answer: httpx.Response, asked: str, other: Tenant) -> set[str]:
    """Canaries of the other workspace in the answer that were not in the question."""
    said = answer.text + json.dumps(list(answer.headers.multi_items()))
    return {canary for canary in other.all_canaries if canary in said and canary not in asked}


def with_id(body: Any, ref: str) -> Any:
    return json.loads(json.dumps(body).replace("{id}", ref))


def ask(mine: Tenant, operation: Operation, path: str, **options: Any) -> httpx.Response:
    # of the stream it is a question that ends
    return mine.ask(operation.method, path, headers={"Accept": "application/json"}, **options)


def test_every_operation_that_takes_a_body_has_one_here(millrace: Millrace) -> None:
    assert {one.name for one in operations(millrace) if one.has_body} == set(BODIES)


def test_no_id_or_reference_of_another_workspace_opens_anything(
    millrace: Millrace, tenants: Tenants, eve: Tenant
) -> None:
    _, bob = tenants
    before = everything(bob)
    for operation in operations(millrace):
        for kind, ref in bob.references.items():
            if "{" not in operation.path and not operation.has_body:
                continue
            path = re.sub(r"\{\w+\}", quote(ref, safe=":"), operation.path)
            body = with_id(BODIES.get(operation.name), ref) if operation.has_body else None
            answer = ask(eve, operation, path, **({} if body is None else {"json": body}))
            asked = f"{unquote(path)} {body}"
            assert answer.status_code < 500, f"{operation.name} with {kind}: {answer.text}"
            assert not leaked(answer, asked, bob), f"{operation.name} with {kind}: {answer.text}"
            if "{" in operation.path:
                assert answer.status_code in (404, 422), f"{operation.name} with {kind}: {answer.text}"
    assert everything(bob) == before, "a request of Eve's changed something of Bob's"


def everything(tenant: Tenant) -> Mapping[str, Any]:
    """What the owner sees, without what moves by itself."""
    moving = re.compile(
        r'"(asOf|lastSeen|updatedAt|evaluatedAt|state|reason|retryAt|progress|status)": ?("[^"]*"|null|[\d.]+)'
    )
    paths = [
        f"/profiles/{tenant.ids['profile']}",
        f"/profiles/{tenant.ids['profile']}/events",
        f"/consent/{tenant.ids['profile']}",
        *(f"/segments/{tenant.ids[name]}" for name in ("segment", "manual")),
        f"/segments/{tenant.ids['manual']}/members",
        f"/audiences/{tenant.ids['audience']}",
        f"/audiences/{tenant.ids['audience']}/deliveries",
        *(f"/destinations/{tenant.ids[name]}" for name in ("webhook", "spare")),
        "/suppressions",
    ]
    return {path: moving.sub("", json.dumps(tenant.data("GET", path))) for path in paths}


def test_no_question_of_one_workspace_is_answered_with_another(millrace: Millrace, tenants: Tenants) -> None:
    ada, bob = tenants
    asking = [one for one in operations(millrace) if one.method == "GET" and "{" not in one.path]
    for operation in asking:
        answer = ask(ada, operation, operation.path)
        assert not leaked(answer, "", bob), f"{operation.name}: {answer.text}"
        for name, ref in itertools.product(operation.query, [*bob.references.values(), bob.canary("event")]):
            answer = ask(ada, operation, operation.path, params={name: ref})
            assert answer.status_code < 500 and not leaked(answer, ref, bob), f"{name}={ref}: {answer.text}"
        for cursor in filter(None, bob.cursors.values()):
            if "cursor" in operation.query:
                answer = ask(ada, operation, operation.path, params={"cursor": cursor, "limit": 100})
                assert answer.status_code < 500 and not leaked(answer, cursor, bob), f"{operation.name}: {answer.text}"


def test_a_search_for_another_workspaces_values_finds_nothing(tenants: Tenants) -> None:
    ada, bob = tenants
    asked = [{"email": bob.canaries["email"]}, {"email": "canary"}, {"attributes": {"plan": bob.canary("plan")}}]
    for search in asked:
        for found in ada.data("POST", "/profiles/search", json=search)["profiles"]:
            assert found["id"] == ada.ids["profile"], f"{search} found {found}"
    rules = {"field": "attributes.plan", "operator": "=", "value": bob.canary("plan")}
    assert ada.data("POST", "/segments/preview", json={"rules": rules})["size"] == 0
    assert bob.data("POST", "/segments/preview", json={"rules": rules})["size"] == 1, "the rule is right"


def test_the_same_paths_asked_in_turns_are_never_mixed_up(tenants: Tenants) -> None:
    paths = ["/profiles/user_id:nobody", "/segments", "/audiences", "/destinations", "/suppressions", "/events"]
    turns = [(mine, other, path) for path in paths for mine, other in (tenants, tenants[::-1])] * 4

    def turn(which: tuple[Tenant, Tenant, str]) -> str:
        mine, other, path = which
        answer = mine.ask("GET", path)
        return f"{path}: {answer.text}" if answer.status_code >= 500 or leaked(answer, "", other) else ""

    with ThreadPoolExecutor(8) as pool:
        assert [fault for fault in pool.map(turn, turns) if fault] == []


def test_an_idempotency_key_of_another_workspace_replays_nothing(tenants: Tenants) -> None:
    ada, bob = tenants
    key, body = f"key-{bob.mark}", {"name": "Same name", "type": "manual"}
    made = [mine.ask("POST", "/segments", json=body, headers={"Idempotency-Key": key}) for mine in (bob, ada, bob)]
    first, other, again = (answer.json()["data"]["id"] for answer in made)
    assert first == again != other
    assert [answer.headers.get("Idempotent-Replayed") for answer in made] == [None, None, "true"]


@pytest.mark.parametrize("narrowed", [False, True])
def test_a_live_stream_shows_its_own_workspace_alone(millrace: Millrace, tenants: Tenants, narrowed: bool) -> None:
    ada, bob = tenants
    address = f"ws://127.0.0.1:{millrace.ports['API']}{PREFIX}/events/stream"
    if narrowed:
        address += f"?profileId={quote('user_id:' + ada.canary('user_id'))}"
    seen: list[str] = []
    with connect(address, additional_headers={"Authorization": f"Bearer {ada.token}"}) as stream:
        assert json.loads(stream.recv(20))["type"] == "ready"
        bob.send(bob.visit("Seen by Bob"))
        ada.send(ada.visit("Seen by Ada"))
        bob.send(bob.visit("Seen by Bob"))
        while "Seen by Ada" not in "".join(seen):
            seen.append(str(stream.recv(20)))
        with pytest.raises(TimeoutError):
            while True:
                seen.append(str(stream.recv(1)))
    said = "".join(seen)
    assert "Seen by Bob" not in said and not [one for one in bob.all_canaries if one in said]


def test_a_stream_of_another_workspaces_profile_is_not_opened(millrace: Millrace, tenants: Tenants) -> None:
    ada, bob = tenants
    answer = ada.ask(
        "GET",
        "/events/stream",
        params={"profileId": bob.ids["profile"]},
        headers={"Accept": "text/event-stream"},
    )
    assert answer.status_code == 404


def test_the_destination_of_one_workspace_is_sent_nothing_of_another(millrace: Millrace, tenants: Tenants) -> None:
    for mine, other in (tenants, tenants[::-1]):
        url = f"http://127.0.0.1:{millrace.ports['STANDIN']}"
        held = find_members(url, mine.ids["audience"])
        assert mine.canaries["email"] in held, "the stand-in holds what it should"
        assert not [one for one in other.all_canaries if one in held]


def find_members(standin: str, audience: str) -> str:
    document = httpx.get(f"{standin}/openapi.json").json()
    path = next(path for path in document["paths"] if path.endswith("/webhook-members"))
    return httpx.get(f"{standin}{path}", params={"audience": audience}).text


def test_no_row_of_one_workspace_holds_a_canary_of_another(millrace: Millrace, tenants: Tenants) -> None:
    """Dead letters (front.quarantine) are among them."""
    ada, bob = tenants
    rows = dict(table_rows(millrace.postgres_url, bob.workspace))
    assert bob.canary("segment") in rows["segmenter.segments"], "the rows are read as they should"
    assert bob.canary("quarantined") in rows["front.quarantine"]
    for table, text in [*rows.items(), *column_rows(millrace.clickhouse_url, bob.workspace)]:
        assert not [one for one in ada.all_canaries if one in text], f"{table} of Bob's has something of Ada's"


def table_rows(url: str, workspace: str) -> Iterator[tuple[str, str]]:
    """Every Postgres table with workspaces, and the workspace's rows as text; bytes as the text they may be."""
    columns = "SELECT table_schema, table_name FROM information_schema.columns WHERE column_name = 'workspace_id'"
    with psycopg.connect(url) as connection:
        for schema, name in connection.execute(columns).fetchall():
            query = sql.SQL("SELECT * FROM {} WHERE workspace_id = %s").format(sql.Identifier(schema, name))
            rows = connection.execute(query, [workspace]).fetchall()
            yield f"{schema}.{name}", "\n".join(" ".join(map(readable, row)) for row in rows)


def readable(value: Any) -> str:
    return bytes(value).decode("latin-1") if isinstance(value, bytes | memoryview) else str(value)


def column_rows(url: str, workspace: str) -> Iterator[tuple[str, str]]:
    """The same of ClickHouse."""

    def told(statement: str, **parameters: str) -> str:
        named = {f"param_{name}": value for name, value in parameters.items()}
        server = f"http://{urlsplit(url).netloc.rpartition('@')[2]}/"
        return httpx.post(server, params={"database": "cdp", **named}, content=statement).text

    tables = told("SELECT DISTINCT table FROM system.columns WHERE database = 'cdp' AND name = 'workspace_id'")
    assert "events" in tables.split(), tables
    for table in tables.split():
        statement = f"SELECT * FROM cdp.`{table}` WHERE workspace_id = {{workspace:String}} FORMAT JSONEachRow"
        rows = told(statement, workspace=workspace)
        assert not rows.startswith("Code:"), rows
        yield table, rows


def test_no_log_holds_a_secret_or_a_person(millrace: Millrace, tenants: Tenants) -> None:
    """After all that was refused above; uvicorn, for one, would log each stream's address with the token in it."""
    ada, _ = tenants
    address = f"ws://127.0.0.1:{millrace.ports['API']}{PREFIX}/events/stream"
    with connect(f"{address}?token={ada.token}&profileId=email:{quote(ada.canaries['email'])}") as stream:
        stream.recv(20)
    logs = {path.name: path.read_text(errors="replace") for path in (millrace.data_dir / "logs").glob("*.log")}
    assert "process_started" in logs["analytics-api.log"]
    for name, text in logs.items():
        for tenant in tenants:
            found = {field for field, canary in tenant.canaries.items() if canary in text}
            assert not found, f"{name} tells {found}"
