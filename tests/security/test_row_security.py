"""The second line of tenancy: a query of the front door that forgets its workspace shows and changes nobody else's."""

from __future__ import annotations

import gc
import re
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any, Final, cast
from uuid import UUID

import psycopg
import pytest
from psycopg import AsyncConnection, AsyncCursor, sql
from psycopg_pool import AsyncConnectionPool

from cdp_activation.adapters.postgres_audiences import PostgresAudiences
from cdp_activation.adapters.postgres_destinations import PostgresDestinations
from cdp_activation.adapters.postgres_suppressions import PostgresSuppressions
from cdp_activation.catalog import Page, Suppression
from cdp_analytics_api.adapters.postgres.idempotency import PostgresKeptAnswers
from cdp_analytics_api.adapters.postgres.quarantine import PostgresQuarantine
from cdp_analytics_api.parts import installed_parts
from cdp_analytics_api.ports import KeptAnswer, KeyedRequest
from cdp_analytics_api.service import AnalyticsApi
from cdp_analytics_api.settings import AnalyticsApiSettings
from cdp_identity.adapters.postgres_reads import ProfileReads
from cdp_identity.identifiers import Spelling
from cdp_identity.search import ProfileSearch, Query, conditions
from cdp_ingest.adapters.postgres import PostgresAccepted
from cdp_runtime import postgres
from cdp_runtime.clock import SystemClock
from cdp_runtime.postgres import Pool, front_door_pool, front_door_statements, lazy_pool
from cdp_runtime.row_security import FRONT_DOOR_ROLE
from cdp_runtime.secrets import SecretBox
from cdp_runtime.tenancy import enter_workspace, leave_workspace
from cdp_segmenter.adapters.postgres_catalogue import PostgresCatalogue
from cdp_segmenter.adapters.postgres_memberships import PostgresLedger
from cdp_segmenter.catalogue import Draft
from tests.databases import fresh_database, front_door
from tests.security.two_tenants import ADA, BOB, Relation, fill, insertion, made_up, relations

X: Final = UUID(int=7)  # the id of every profile and node
LONG_AGO: Final = datetime(2020, 1, 1, tzinfo=UTC)
BOX: Final = SecretBox("a secret for tests that is long enough to be one")


@pytest.fixture(scope="module")
async def url(postgres_url: str) -> str:
    """Of a database with the newest tables, filled for two workspaces and none."""
    url = await fresh_database(postgres_url, "row_security_test")
    async with await AsyncConnection.connect(url) as connection:
        await fill(connection)
    return url


@pytest.fixture
async def owner(url: str) -> AsyncIterator[AsyncConnection[Any]]:
    """Sees all; what it does is undone."""
    connection = await AsyncConnection.connect(url)
    yield connection
    await connection.rollback()
    await connection.close()


@pytest.fixture
async def door(url: str) -> AsyncIterator[Pool]:
    """Of the database with all tables."""
    async with front_door(url, name="row-security-test", max_size=2) as pool:
        yield pool


async def rows(connection: AsyncConnection[Any], statement: Any, parameters: Any = ()) -> list[tuple[Any, ...]]:
    return await (await connection.execute(statement, parameters)).fetchall()


async def allowed(connection: AsyncConnection[Any], privilege: str) -> list[Relation]:
    """The relations with workspaces on which the front door's role has the privilege."""
    asked = "SELECT has_table_privilege(%s, %s, %s)"
    return [
        relation
        for relation in await relations(connection)
        if (await rows(connection, asked, [FRONT_DOOR_ROLE, str(relation), privilege]))[0][0]
    ]


# what the database says of itself


async def test_every_table_with_workspaces_has_the_policy(owner: AsyncConnection[Any]) -> None:
    """A new table without it fails here: see cdp_runtime.row_security.protect."""
    tables = [relation for relation in await relations(owner) if relation.is_table]
    assert len(tables) >= 24
    own_rows = "(workspace_id = NULLIF(current_setting('cdp.workspace_id'::text, true), ''::text))"
    for table in tables:
        enabled = await rows(owner, "SELECT relrowsecurity FROM pg_class WHERE oid = %s::regclass", [str(table)])
        policies = await rows(
            owner,
            "SELECT permissive, roles::text, cmd, qual, with_check FROM pg_policies "
            "WHERE schemaname = %s AND tablename = %s",
            [table.schema, table.name],
        )
        assert enabled == [(True,)], f"{table} shows every workspace"
        assert policies == [("PERMISSIVE", "{public}", "ALL", own_rows, own_rows)], table


async def test_the_role_has_no_way_around(owner: AsyncConnection[Any]) -> None:
    attributes = "rolsuper, rolbypassrls, rolcreaterole, rolcreatedb, rolcanlogin, rolreplication"
    role = await rows(owner, f"SELECT {attributes} FROM pg_roles WHERE rolname = %s", [FRONT_DOOR_ROLE])
    assert role == [(False,) * 6]
    member_of = "SELECT 1 FROM pg_auth_members WHERE member = %s::regrole"
    owned = "SELECT relname FROM pg_class WHERE relowner = %s::regrole"
    assert await rows(owner, member_of, [FRONT_DOOR_ROLE]) == await rows(owner, owned, [FRONT_DOOR_ROLE]) == []


async def test_what_has_no_workspaces_is_out_of_reach_but_for_what_is_named(owner: AsyncConnection[Any]) -> None:
    """An outbox holds everybody's messages: the door puts its own in and reads none."""
    reached = await rows(
        owner,
        "SELECT format('%%s %%s', lower(p), c.oid::regclass) "
        "FROM pg_class AS c, unnest(ARRAY['SELECT', 'INSERT', 'UPDATE', 'DELETE', 'TRUNCATE']) AS p "
        "WHERE c.relkind IN ('r', 'p', 'v', 'm', 'f') AND c.relnamespace::regnamespace::text "
        "NOT IN ('pg_catalog', 'information_schema') AND NOT EXISTS (SELECT FROM pg_attribute AS a "
        "WHERE a.attrelid = c.oid AND a.attname = 'workspace_id' AND NOT a.attisdropped) "
        "AND CASE WHEN p IN ('DELETE', 'TRUNCATE') THEN has_table_privilege(%(role)s, c.oid, p) "
        "ELSE has_any_column_privilege(%(role)s, c.oid, p) END",
        {"role": FRONT_DOOR_ROLE},
    )
    assert {row[0] for row in reached} == {
        "select activation.key_fingerprint",
        "select identity.messages",
        "insert segmenter.outbox",
        "insert segmenter.outbox_batches",
    }


async def test_secrets_and_the_audit_are_out_of_reach(owner: AsyncConnection[Any]) -> None:
    readable = {str(relation) for relation in await allowed(owner, "SELECT")}
    assert len(readable) >= 15
    assert not readable & {"front.tokens", "front.audit", "front.workspaces", "ingest.sources"}


def test_the_front_door_has_three_pools_that_see_all_and_the_decision_names_what_they_do() -> None:
    """docs/decisions/0016: look-ups before the workspace is known, and what is written for all at once."""
    before = all_pools()
    door = AnalyticsApi(AnalyticsApiSettings(), installed_parts())
    pools = [pool for pool in all_pools() if not any(pool is known for known in before)]
    confined = {pool.name for pool in pools if pool._configure is postgres._confine}
    assert door.name in confined and len(confined) == 6
    owners = {"analytics-api-owner", "analytics-api-audit", "cdp-api-events-owner"}
    assert {pool.name for pool in pools} - confined == owners


def all_pools() -> list[Pool]:
    # by type: isinstance asks a proxy what it stands for, which may be gone
    return [found for found in gc.get_objects() if issubclass(type(found), AsyncConnectionPool)]


# what the role sees and may change, table by table


async def test_each_workspace_sees_its_own_rows_in_every_table_and_view(
    owner: AsyncConnection[Any], door: Pool
) -> None:
    for relation in await allowed(owner, "SELECT"):
        everything = sql.SQL("SELECT workspace_id FROM {} ORDER BY 1").format(relation.sql)
        async with door.connection() as connection:
            assert await rows(connection, everything) == [], f"{relation} is shown before anybody came"
        for workspace in (ADA, BOB):
            enter_workspace(workspace)
            async with door.connection() as connection:
                assert await rows(connection, everything) == [(workspace,)], relation
        leave_workspace()


async def test_a_row_of_another_workspace_cannot_be_written(owner: AsyncConnection[Any], door: Pool) -> None:
    tables = await allowed(owner, "INSERT")
    assert len(tables) >= 8
    for table in tables:
        statement = insertion(table, BOB, await made_up(owner, table))
        for workspace in (ADA, ""):
            enter_workspace(workspace)
            with pytest.raises(psycopg.errors.InsufficientPrivilege, match="row-level security"):
                async with door.connection() as connection:
                    await connection.execute(*statement)


async def test_a_row_cannot_be_given_away_or_changed_from_outside(owner: AsyncConnection[Any], door: Pool) -> None:
    tables = await allowed(owner, "UPDATE")
    assert len(tables) >= 8
    for table in tables:
        give = sql.SQL("UPDATE {} SET workspace_id = %s").format(table.sql)
        touch = sql.SQL("UPDATE {} SET workspace_id = workspace_id").format(table.sql)
        async with door.connection() as connection:
            assert (await connection.execute(touch)).rowcount == 0, table
        enter_workspace(ADA)
        async with door.connection() as connection:
            assert (await connection.execute(touch)).rowcount == 1, table
        with pytest.raises((psycopg.errors.InsufficientPrivilege, psycopg.errors.WithCheckOptionViolation)):
            async with door.connection() as connection:
                await connection.execute(give, ["eve"])
        leave_workspace()


async def test_a_delete_of_everything_takes_ones_own(owner: AsyncConnection[Any], door: Pool) -> None:
    tables = await allowed(owner, "DELETE")
    assert {str(table) for table in tables} == {"activation.suppressions", "front.idempotency"}
    for table in tables:
        delete = sql.SQL("DELETE FROM {}").format(table.sql)
        async with door.connection() as connection:
            assert (await connection.execute(delete)).rowcount == 0
        enter_workspace(ADA)
        async with door.connection() as connection:
            assert (await connection.execute(delete)).rowcount == 1
            await connection.rollback()
        leave_workspace()


# the services' own statements, each without its condition on the workspace


class ForgetfulCursor(AsyncCursor[Any]):
    """Runs what it is given as if whoever wrote it had forgotten the workspace."""

    async def execute(self, query: Any, params: Any = None, **options: Any) -> Any:
        return await super().execute(forgotten(query) if isinstance(query, str) else query, params, **options)


class ForgetfulConnection(AsyncConnection[Any]):
    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.cursor_factory = ForgetfulCursor


def forgotten(statement: str) -> str:
    """The parameters stay, the conditions go."""
    statement = re.sub(r"(?:\w+\.)?workspace_id = (%s|%\(workspace(?:_id)?\)s)", r"\1::text IS NOT NULL", statement)
    statement = re.sub(r"\w+\.workspace_id = t\.workspace_id", "true", statement)
    return re.sub(r"(AS t\(.*\)\s+JOIN \S+ AS \w+ USING \()workspace_id, ", r"\1", statement)


Call = Callable[[Pool], Awaitable[Any]]


async def _graph(pool: Pool) -> Any:
    nodes, links = await reads(pool).graph(ADA, X)
    return [*nodes, *links]


async def _memberships(pool: Pool) -> Any:
    async with PostgresLedger(pool).session(ADA, locked=False) as session:
        return await session._rows("SELECT * FROM segmenter.profile_segments WHERE workspace_id = %s", [ADA])


async def _search(pool: Pool, **asked: Any) -> Any:
    search = conditions(ADA, ProfileSearch(**asked), "USD", Spelling("US", frozenset()))
    return (await reads(pool).search(search, 10, 0, None)).ids


async def _walk(pool: Pool) -> Any:
    """What a search goes on with where many are found."""
    return await _rows(pool, conditions(ADA, ProfileSearch(), "USD", Spelling("US", frozenset())).walk(10, None))


async def _first(pool: Pool) -> Any:
    """What a search in a large workspace asks; no row where there is nobody among the first."""
    everybody = conditions(ADA, ProfileSearch(), "USD", Spelling("US", frozenset()))
    return [row for row in await _rows(pool, everybody.first(10, 0, None)) if row[0]]


async def _rows(pool: Pool, query: Query) -> list[Any]:
    sql, parameters = query
    async with pool.connection() as connection:
        return await (await connection.execute(cast(Any, sql), parameters)).fetchall()


async def _listed(listing: Awaitable[tuple[list[Any], int]]) -> list[Any]:
    return (await listing)[0]


def reads(pool: Pool) -> ProfileReads:
    return ProfileReads(pool, SystemClock())


QUESTIONS: Final[dict[str, Call]] = {
    "segments": lambda pool: _listed(PostgresCatalogue(pool).listed(ADA, 10, None, 0)),
    "number of segments": lambda pool: PostgresCatalogue(pool).count(ADA),
    "members": lambda pool: PostgresCatalogue(pool).members(ADA, "x", 10, None, 0),
    "segments of a profile": lambda pool: PostgresCatalogue(pool).memberships(ADA, X),
    "memberships": _memberships,
    "audiences": lambda pool: _listed(PostgresAudiences(pool).listed(ADA, Page(10))),
    "number of audiences": lambda pool: PostgresAudiences(pool).count(ADA),
    "deliveries": lambda pool: PostgresAudiences(pool).deliveries(ADA, "x", 10, None),
    "tallies": lambda pool: PostgresAudiences(pool).tallies(ADA, "x"),
    "destinations": lambda pool: _listed(PostgresDestinations(pool, BOX).listed(ADA, Page(10))),
    "suppressions": lambda pool: _listed(PostgresSuppressions(pool).listed(ADA, Page(10))),
    "quarantine": lambda pool: _listed(PostgresQuarantine(pool, pool).page(ADA, None, 10, None)),
    "accepted": lambda pool: PostgresAccepted(pool).read(ADA, LONG_AGO),
    "nodes and links": _graph,
    "names": lambda pool: reads(pool)._nodes(ADA, [X]),
    "a profile": lambda pool: reads(pool).record_of(ADA, X),
    "profiles": lambda pool: reads(pool).records(ADA, [X]),
    "consents": lambda pool: reads(pool).consents(ADA, [X]),
    "search by an address": lambda pool: _search(pool, email="x.exam"),
    "search by nothing": _search,
    "walk": _walk,
    "first profiles": _first,
}


@pytest.fixture(params=[front_door_pool, front_door_statements])
async def pools(url: str, request: pytest.FixtureRequest) -> AsyncIterator[dict[str, Pool]]:
    """The door's, the door's with a short memory, and the owner's with the same."""
    made: dict[str, Pool] = {
        "door": request.param(url, name="careful"),
        "forgetful": request.param(url, name="forgetful"),
        "unguarded": lazy_pool(url, name="unguarded"),
    }
    for name, pool in made.items():
        if name != "door":
            pool.connection_class = ForgetfulConnection
        await pool.open()
    leave_workspace()
    yield made
    leave_workspace()
    for pool in made.values():
        await pool.close()


@pytest.mark.parametrize("question", QUESTIONS)
async def test_a_question_without_its_condition_gets_the_same_answer(pools: dict[str, Pool], question: str) -> None:
    ask = QUESTIONS[question]
    assert not await ask(pools["forgetful"]), "before anybody came"
    enter_workspace(ADA)
    answer = await ask(pools["door"])
    assert answer
    assert await ask(pools["forgetful"]) == answer
    if question != "search":  # it goes through a view, which shows the owner one workspace as well
        assert await ask(pools["unguarded"]) != answer, "the condition is there still: this test shows nothing"


NEW: Final = Suppression("new", "email", "x…", None, "", LONG_AGO)
REQUEST: Final = KeyedRequest(ADA, "x", "x", "x", b"x", "x")
CHANGES: Final[dict[str, Call]] = {
    "delete a segment": lambda pool: PostgresCatalogue(pool).delete(ADA, "x"),
    "change a segment": lambda pool: PostgresCatalogue(pool).update(ADA, "x", Draft("new", "", "manual", None)),
    "delete an audience": lambda pool: PostgresAudiences(pool).delete(ADA, "x"),
    "pause an audience": lambda pool: PostgresAudiences(pool).pause(ADA, "x", ["x"]),
    "activate an audience": lambda pool: PostgresAudiences(pool).operate(ADA, "x", ["x"], "add", waive=False),
    "delete a destination": lambda pool: PostgresDestinations(pool, BOX).delete(ADA, "x", force=True),
    "resume a destination": lambda pool: PostgresDestinations(pool, BOX).resume(ADA, "x"),
    "add a suppression": lambda pool: PostgresSuppressions(pool).add(ADA, NEW, 7),
    "remove a suppression": lambda pool: PostgresSuppressions(pool).remove(ADA, "x"),
    "keep an answer": lambda pool: PostgresKeptAnswers(pool, pool).keep(REQUEST, KeptAnswer(200, "x", b"x")),
    "release a key": lambda pool: PostgresKeptAnswers(pool, pool).release(REQUEST),
}


async def everything_else(pool: Pool) -> dict[str, list[Any]]:
    """All rows but Ada's."""
    found = {}
    async with pool.connection() as connection:
        for relation in await relations(connection):
            if relation.is_table:
                others = sql.SQL("SELECT * FROM {} WHERE workspace_id <> {} ORDER BY workspace_id")
                found[str(relation)] = await rows(connection, others.format(relation.sql, ADA))
    return found


@pytest.fixture
async def refilled(url: str) -> AsyncIterator[None]:
    yield
    async with await AsyncConnection.connect(url) as connection:
        await fill(connection)


@pytest.mark.usefixtures("refilled")
@pytest.mark.parametrize("change", CHANGES)
async def test_a_change_without_its_condition_changes_nobody_elses(pools: dict[str, Pool], change: str) -> None:
    before = await everything_else(pools["unguarded"])
    enter_workspace(ADA)
    await CHANGES[change](pools["forgetful"])
    assert await everything_else(pools["unguarded"]) == before
    if change != "add a suppression":  # it goes through a view, which shows the owner one workspace as well
        await CHANGES[change](pools["unguarded"])
        assert await everything_else(pools["unguarded"]) != before, "the condition is there still: this shows nothing"


@pytest.mark.usefixtures("refilled")
async def test_a_suppression_reaches_the_deliveries_of_its_workspace(pools: dict[str, Pool]) -> None:
    enter_workspace(ADA)
    await CHANGES["add a suppression"](pools["door"])
    async with pools["unguarded"].connection() as connection:
        causes = await rows(connection, "SELECT workspace_id, cause FROM activation.deliveries ORDER BY 1")
    assert causes == [("", "membership"), (ADA, "suppressed"), (BOB, "membership")]
