"""Journal and golden records -> I5: each person's revenue equals the oracle's, in Postgres and in ClickHouse."""

from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final
from uuid import UUID

from cdp_runtime.parts import in_parts
from cdp_schemas.nodes import node_id
from cdp_verify.buckets import SIZE, buckets_for, split
from cdp_verify.checks.arrivals import Key
from cdp_verify.findings import OFF_MINOR, Finding, finding
from cdp_verify.journal import Answer, Entry, Journal
from cdp_verify.oracle import Due, Person, person_of, replay
from cdp_verify.stores import Stores

_ASKED: Final = 2000
_RECORDS: Final = """
SELECT n.node_id, n.profile_id, p.ltv_minor, p.order_count, p.refunded_minor, p.by_currency
FROM identity.nodes AS n LEFT JOIN identity.profiles AS p USING (workspace_id, profile_id)
WHERE n.workspace_id = %(workspace)s AND n.node_id = ANY(%(nodes)s)
"""
_REPLICAS: Final = """
SELECT profile_id, ltv_minor, order_count, refunded_minor FROM profiles FINAL
WHERE workspace_id = {asked:String} AND profile_id IN {profiles:Array(UUID)}
"""


async def check_revenue(
    stores: Stores, journal: Journal, arrived: frozenset[Key], currency: str = "USD", *, bucket_size: int = SIZE
) -> Finding:
    """Bucket by bucket of people."""
    result, people = finding("I5"), 0
    for part in split(_stored(journal, arrived), buckets_for(journal.events, bucket_size), Entry):
        due = replay(part, currency)
        people += len(due)
        for workspace in journal.run.workspaces:
            theirs = [(user, said) for (place, user), said in due.items() if place == workspace]
            for some in in_parts(theirs, _ASKED):
                await _compare(stores, workspace, dict(some), result)
    result.compared = f"{people:,} people, their revenue, refunds and orders in Postgres and ClickHouse"
    return result


def _stored(journal: Journal, arrived: frozenset[Key]) -> Iterator[tuple[str, Entry]]:
    """What must be in the store of everybody who is named, by user id."""
    for entry in journal.entries():
        person = person_of(entry)
        is_stored = entry.answer is Answer.ACCEPTED or (entry.workspace_id, entry.message_id) in arrived
        if person is not None and is_stored:
            yield person[1], entry


async def _compare(stores: Stores, workspace: str, due: Mapping[str, Due], result: Finding) -> None:
    nodes = {node_id(workspace, "user_id", user): user for user in due}
    asked = {"workspace": workspace, "nodes": list(nodes)}
    records = {nodes[row["node_id"]]: row for row in await stores.postgres.rows(_RECORDS, asked)}
    profiles = [row["profile_id"] for row in records.values()]
    replicas = await _replicas(stores, workspace, profiles)
    for user, said in due.items():
        record = records.get(user)
        if record is None or record["ltv_minor"] is None:
            result.wrong(f"{_name((workspace, user))} has no profile in Postgres")
            result.sums[OFF_MINOR] += abs(said.ltv_minor)
            continue
        kept = Due(
            record["ltv_minor"], record["order_count"], record["refunded_minor"], _currencies(record["by_currency"])
        )
        if kept != said:
            result.wrong(f"{_name((workspace, user))} in Postgres: {_told(kept)}, and the oracle says {_told(said)}")
        replica = replicas.get(record["profile_id"])
        if replica != said[:3]:
            result.wrong(f"{_name((workspace, user))} in ClickHouse: {replica}, and the oracle says {said[:3]}")
        # the worse of the two stores
        stored = (kept.ltv_minor, replica[0] if replica else 0)
        result.sums[OFF_MINOR] += max(abs(ltv - said.ltv_minor) for ltv in stored)


async def _replicas(stores: Stores, workspace: str, profiles: Sequence[UUID]) -> dict[UUID, tuple[int, int, int]]:
    rows = await stores.events(_REPLICAS, asked=workspace, profiles=list(profiles))
    return {row["profile_id"]: (row["ltv_minor"], row["order_count"], row["refunded_minor"]) for row in rows}


def _currencies(stored: Any) -> tuple[tuple[str, int], ...]:
    return tuple(sorted((stored or {}).items()))


def _told(due: Due) -> str:
    apart = ", ".join(f"{minor} {currency}" for currency, minor in due.by_currency)
    return f"{due.ltv_minor} minor units of {due.order_count} orders, {due.refunded_minor} refunded ({apart})"


def _name(person: Person) -> str:
    return f"{person[0]}: {person[1]}"
