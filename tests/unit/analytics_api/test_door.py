"""The layers of the door without stores: audit before answer, groups, parts that start late."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import psycopg
import pytest
from fastapi import APIRouter, FastAPI
from psycopg_pool import PoolTimeout
from pydantic import BaseModel, TypeAdapter, ValidationError

from cdp_analytics_api.door.audit import AuditTrail, subject
from cdp_analytics_api.door.faults import dependency_error, validation_error
from cdp_analytics_api.door.operations import Operation, Operations
from cdp_analytics_api.door.requests import Requests
from cdp_analytics_api.parts import RunningPart, merged_facets
from cdp_analytics_api.ports import AuditEntry
from cdp_clickhouse.errors import StoreRefused, StoreUnavailable
from cdp_eventlog.log import LogUnavailable
from cdp_runtime.api import ApiPart
from cdp_runtime.auth import Principal, admit
from cdp_runtime.envelope import ApiError
from cdp_runtime.tenancy import enter_workspace, present_workspace
from cdp_schemas.nodes import node_id
from tests.fakes.analytics_api import FakeAuditLog

ENTRY = AuditEntry("acme", datetime(2026, 1, 1, tzinfo=UTC), "r", "t", "GET", "/x", "", "profiles:read", 200)


async def test_entries_that_wait_are_written_together_and_durable_when_told() -> None:
    log = FakeAuditLog()
    trail = AuditTrail(log)
    await asyncio.gather(*(trail.record(ENTRY) for _ in range(50)))
    assert sum(log.groups) == 50
    assert len(log.groups) <= 3


async def test_two_groups_are_written_at_once_and_whoever_comes_meanwhile_goes_with_the_next_one() -> None:
    log = FakeAuditLog()
    log.may_end.clear()
    trail, told = AuditTrail(log), []
    for size in (2, 3, 4):
        told += [asyncio.create_task(trail.record(ENTRY)) for _ in range(size)]
        for _ in range(3):  # they come, a writer begins, its write is under way
            await asyncio.sleep(0)
    assert log.groups == [2, 3]
    log.may_end.set()
    await asyncio.gather(*told)
    await trail.record(ENTRY)
    assert log.groups == [2, 3, 4, 1]


async def test_a_failed_write_reaches_everyone_who_waited_and_no_one_later() -> None:
    log = FakeAuditLog()
    log.failure = psycopg.OperationalError("gone")
    trail = AuditTrail(log)
    results = await asyncio.gather(*(trail.record(ENTRY) for _ in range(3)), return_exceptions=True)
    assert [type(result) for result in results] == [psycopg.OperationalError] * 3
    log.failure = None
    await trail.record(ENTRY)
    assert log.groups == [1]


@pytest.mark.parametrize("kind", ["http", "websocket"])
async def test_a_request_is_nobodys_until_the_login_whoever_came_before_on_the_line(kind: str) -> None:
    """A server may run a request in the context of the one before, which was another workspace's."""
    spoke_for: list[str] = []

    async def app(scope: Any, receive: Any, send: Any) -> None:
        spoke_for.append(present_workspace())
        admit(scope, Principal("acme", "t", frozenset()))
        spoke_for.append(present_workspace())

    enter_workspace("rival")
    scope = {"type": kind, "headers": [], "path": "/", "method": "GET"}
    await Requests(app, operations=Operations(FastAPI()))(scope, None, None)  # type: ignore[arg-type]
    assert spoke_for == ["", "acme"]
    assert scope["state"]["principal"].workspace_id == "acme"  # type: ignore[index,attr-defined]


def test_an_identifier_enters_the_audit_as_its_node() -> None:
    assert subject("acme", {"ref": "profile-12"}) == "profile-12"
    assert subject("acme", {}) == ""
    ada = subject("acme", {"ref": "email:Ada@example.com"})
    assert (
        ada == subject("acme", {"ref": "email:ada@example.com"}) != subject("rival", {"ref": "email:ada@example.com"})
    )
    assert "ada" not in ada
    assert subject("acme", {"ref": "user_id:Ada"}) == f"node-{node_id('acme', 'user_id', 'Ada').hex}"


def test_the_person_in_the_path_is_the_subject_and_not_what_holds_them() -> None:
    assert subject("acme", {"segment_id": "segment-1", "profile": "profile-12"}) == "profile-12"


@pytest.mark.parametrize(
    ("error", "status", "code"),
    [
        (StoreUnavailable("away"), 503, "clickhouse_unavailable"),
        (StoreRefused("too slow", 159), 422, "too_heavy"),
        (StoreRefused("Maximum parse depth exceeded", 167), 422, "too_heavy"),
        (StoreRefused("AST is too big", 168), 422, "too_heavy"),
        (StoreRefused("Code: 62. DB::Exception: Max query size exceeded", 62), 422, "too_heavy"),
        (LogUnavailable("away"), 503, "kafka_unavailable"),
        (psycopg.OperationalError("away"), 503, "postgres_unavailable"),
        (PoolTimeout("no connection within 5 s"), 503, "postgres_unavailable"),
    ],
)
def test_an_outage_names_its_dependency(error: Exception, status: int, code: str) -> None:
    meant = dependency_error(error)
    assert meant is not None
    assert (meant.status, meant.code) == (status, code)


@pytest.mark.parametrize(
    "error", [StoreRefused("no such column", 47), StoreRefused("syntax error", 62), psycopg.errors.UndefinedTable("x")]
)
def test_a_wrong_statement_is_a_bug_and_no_outage(error: Exception) -> None:
    assert dependency_error(error) is None


def test_paths_of_faults_read_like_the_body() -> None:
    faults: list[dict[str, Any]] = [
        {"type": "missing", "loc": ("body", "steps", 0, "event"), "msg": "Field required", "input": {}},
        {"type": "value_error", "loc": ("query", "limit"), "msg": "Value error, Too much", "input": 1},
        {"type": "missing", "loc": ("body",), "msg": "Field required", "input": None},
    ]
    error = validation_error(faults)
    assert [detail.path for detail in error.details] == ["steps[0].event", "limit", "body"]
    assert error.details[1].message == "too much"


class Step(BaseModel):
    event: str


@pytest.mark.parametrize("expected", [Step, list[Step], dict[str, int]])
def test_what_is_no_object_is_told_so_in_the_words_of_json(expected: Any) -> None:
    wrong = ["Product Viewed"] if expected == list[Step] else "Product Viewed"
    with pytest.raises(ValidationError) as refused:
        TypeAdapter(expected).validate_python(wrong, from_attributes=True)
    (detail,) = validation_error(refused.value.errors()).details
    assert detail.message == "input should be an object"


class LatePart:
    def __init__(self) -> None:
        self.attempts = 0
        self.there = asyncio.Event()

    async def start(self) -> None:
        self.attempts += 1
        if self.attempts == 1:
            raise RuntimeError("first try fails")
        await self.there.wait()


async def test_a_part_is_closed_until_it_has_started_however_often_it_must_try() -> None:
    late = LatePart()
    running = RunningPart(ApiPart("late", APIRouter(), late.start))
    running.start()
    with pytest.raises(ApiError) as fault:
        running.require_open()
    assert (fault.value.status, fault.value.code) == (503, "late_unavailable")
    late.there.set()
    async with asyncio.timeout(5):
        while running.faults():
            await asyncio.sleep(0.01)
    running.require_open()
    assert late.attempts == 2
    await running.stop()


async def test_facets_of_one_name_answer_together() -> None:
    def offers(key: str, value: int) -> ApiPart:
        async def counts(workspace_id: str, ids: Sequence[Any]) -> dict[str, int]:
            return {key: value}

        return ApiPart(key, APIRouter(), facets={"counts": counts})

    facets = merged_facets([offers("segments", 3), offers("audiences", 2)])
    assert await facets["counts"]("acme", []) == {"segments": 3, "audiences": 2}


@pytest.mark.parametrize(
    ("path", "scope", "is_personal"),
    [
        ("/api/cdp/profiles/{ref}", "profiles:read", True),
        ("/api/cdp/consent", "consent:write", True),
        ("/api/cdp/events", "events:read", True),
        ("/api/cdp/events", "events:write", False),
        ("/api/cdp/segments/{segment_id}/members", "segments:read", True),
        ("/api/cdp/segments/{segment_id}/size", "segments:read", False),
        ("/api/cdp/segments/preview", "segments:read", True),
        ("/api/cdp/profiles/{ref}/segments", "segments:read", True),
        ("/api/cdp/audiences/{audience_id}/deliveries", "audiences:read", True),
        ("/api/cdp/audiences/{audience_id}/status", "audiences:read", False),
        ("/api/cdp/suppressions", "audiences:write", True),
        ("/api/cdp/suppressions/{suppression_id}", "audiences:write", True),
        ("/api/cdp/health", "", False),
    ],
)
def test_what_is_audited(path: str, scope: str, is_personal: bool) -> None:
    assert Operation(path, frozenset({"GET"}), scope).is_personal is is_personal
