"""Postgres's rows -> the values of the resolver and the golden records of the API."""

from collections.abc import Iterable, Sequence
from typing import Any

from cdp_identity import orders
from cdp_identity.golden import identifiers, to_micros
from cdp_identity.graph import Link
from cdp_identity.orders import Total
from cdp_identity.rows import LinkRow, NodeRow, OrderRow, ProfileRow
from cdp_schemas.profiles import ProfileUpdated, Revenue

Columns = Sequence[Any]


def node_row(row: Columns) -> NodeRow:
    """workspace_id, node_id, profile_id, kind, value, first_seen, last_seen, erased_at, state"""
    last = None if row[6] is None else to_micros(row[6])
    erased = None if row[7] is None else to_micros(row[7])
    return NodeRow(row[0], row[1], row[2], row[3], row[4], to_micros(row[5]), last, erased, row[8])


def link_row(row: Columns) -> LinkRow:
    """workspace_id, a, b, first_at, status, message_id, source_id, reason"""
    status: Any = row[4].decode() if isinstance(row[4], bytes) else row[4]
    return LinkRow(row[0], Link(row[1], row[2], to_micros(row[3]), row[5]), status, row[6], row[7])


def order_row(row: Columns) -> OrderRow:
    """workspace_id, order_id, facts, then currency, net, refunded and placed_at, null for one that does not count"""
    total = None if row[6] is None else Total(row[3], row[4], row[5], to_micros(row[6]))
    return OrderRow(row[0], row[1], orders.decode(row[2]), total)


def profile_row(row: Columns) -> ProfileRow:
    """workspace_id, profile_id, version, then times, money and JSON in the order of ``postgres_sql.PROFILE_COLUMNS``"""
    (workspace_id, profile_id, version, created_at, updated_at, first_seen, last_seen, consent_at) = row[:8]
    (first_order, last_order, ltv, refunded, count, currency, traits, consent, by_currency) = row[8:]
    revenue = Revenue(currency or "USD", ltv, count, refunded, first_order, last_order, by_currency or {})
    times = (created_at, updated_at, first_seen, last_seen)
    return ProfileRow(workspace_id, profile_id, version, *times, traits or {}, consent or {}, consent_at, revenue)


def profile_updates(rows: Iterable[ProfileRow], nodes: Iterable[NodeRow]) -> list[ProfileUpdated]:
    """Stored profiles with their nodes' identifiers, as messages."""
    said: dict[tuple[str, Any], list[tuple[str, int, str]]] = {}
    for node in nodes:
        said.setdefault((node.workspace_id, node.profile_id), []).append((node.kind, node.first_seen, node.value))
    return [
        _record(row, identifiers(said.get((row.workspace_id, row.profile_id), ()))) for row in rows if row.version > 0
    ]


def read_record(row: Columns) -> ProfileUpdated:
    """The columns of a profile, then kinds, values and first times of its nodes side by side."""
    *columns, kinds, values, firsts = row
    said = zip(kinds or (), firsts or (), values or (), strict=True)
    return _record(profile_row(columns), identifiers(said))


def _record(row: ProfileRow, said: dict[str, list[str]]) -> ProfileUpdated:
    return ProfileUpdated(
        *(row.workspace_id, row.profile_id, row.version, row.updated_at),
        created_at=row.created_at,
        first_seen=row.first_seen,
        last_seen=row.last_seen,
        identifiers=said,
        traits=row.traits,
        consent=row.consent,
        consent_at=row.consent_at,
        revenue=row.revenue,
    )
