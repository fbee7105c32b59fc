"""A workspace's counts and averages -> statements over profiles and events."""

from datetime import datetime
from typing import Final

from cdp_analytics_api.notation import to_millis
from cdp_analytics_api.queries.nodes import workspace
from cdp_clickhouse.statement import Statement, join, value

TOP_COUNTRIES: Final = 10
_COUNTRY: Final = "coalesce(traits.country.:String, traits.address.country.:String, '')"


def event_count(workspace_id: str) -> Statement:
    """One row: ``total`` events, which the primary key tells without a row being read."""
    return join(" ", ["SELECT count() AS total FROM events WHERE", workspace(workspace_id)])


def event_totals(workspace_id: str, today: datetime) -> Statement:
    """One row: ``total`` events, and those that arrived since ``today``."""
    return _totals("events", "received_at", today, workspace_id)


def profile_totals(workspace_id: str, today: datetime) -> Statement:
    """One row: ``total`` profiles, and those created since ``today``."""
    return _totals("profiles FINAL", "created_at", today, workspace_id)


def _totals(table: str, column: str, today: datetime, workspace_id: str) -> Statement:
    beginning = f"SELECT count() AS total, countIf({column} >="
    midnight = join("", ["fromUnixTimestamp64Milli(", value("today_ms", "Int64", to_millis(today)), ")"])
    return join(" ", [beginning, midnight, f") AS today FROM {table} WHERE", workspace(workspace_id)])


def revenue_totals(workspace_id: str) -> Statement:
    """Rows (currency, profiles, buyers, ltv_minor, orders), exact sums of minor units."""
    return join(
        " ",
        [
            "SELECT currency, count() AS profiles, countIf(order_count > 0) AS buyers, sum(ltv_minor) AS ltv_minor,",
            "sum(order_count) AS orders FROM profiles FINAL WHERE",
            workspace(workspace_id),
            "GROUP BY currency ORDER BY profiles DESC, currency",
        ],
    )


def consent_totals(workspace_id: str) -> Statement:
    """Rows (purpose, granted): how many profiles have said yes."""
    return join(
        " ",
        [
            "SELECT purpose, countIf(granted) AS granted FROM profiles FINAL",
            "ARRAY JOIN mapKeys(consent) AS purpose, mapValues(consent) AS granted WHERE",
            workspace(workspace_id),
            "GROUP BY purpose ORDER BY purpose",
        ],
    )


def top_countries(workspace_id: str) -> Statement:
    """Rows (country, profiles), the most frequent first; profiles without a country are left out."""
    return join(
        " ",
        [
            "SELECT",
            _COUNTRY,
            "AS country, count() AS profiles FROM profiles FINAL WHERE",
            workspace(workspace_id),
            "AND country != '' GROUP BY country ORDER BY profiles DESC, country LIMIT",
            value("countries", "UInt32", TOP_COUNTRIES),
        ],
    )
