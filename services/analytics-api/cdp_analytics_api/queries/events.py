"""A filter of events -> the statement of one page, newest first."""

from dataclasses import dataclass, replace
from typing import Final, get_args
from uuid import UUID

from cdp_analytics_api.cursors import Place
from cdp_analytics_api.notation import to_millis
from cdp_analytics_api.periods import Period
from cdp_analytics_api.queries.nodes import belongs_to, workspace
from cdp_clickhouse.statement import EMPTY, Statement, join, value
from cdp_schemas.event_names import TYPE_NAMES, names_matching
from cdp_schemas.events import Call

CALLS: Final[tuple[str, ...]] = get_args(Call)
EVENT_TYPES: Final = (*TYPE_NAMES, "custom", *(call for call in CALLS if call != "track"))
# the gateway lets no event's time be more than five minutes ahead of its arrival
_CLOCK_MARGIN_MS: Final = 3_600_000
_PAGE: Final = (
    "SELECT event, node_id, toUnixTimestamp64Milli(timestamp) AS at_ms, "
    "toUnixTimestamp64Milli(received_at) AS received_ms, "
    "call, message_id, source_id, session_id, user_id, anonymous_id, properties, traits, context, "
    "received_partition, received_offset FROM events WHERE"
)


@dataclass(frozen=True, slots=True)
class EventFilter:
    """Which events; None leaves a condition out. ``type`` is one of EVENT_TYPES."""

    period: Period
    type: str | None = None
    event: str | None = None
    profile_id: UUID | None = None

    def of(self, profile_id: UUID) -> "EventFilter":
        """The same events, of one profile only."""
        return replace(self, profile_id=profile_id)


def event_page(workspace_id: str, chosen: EventFilter, limit: int, after: Place | None) -> Statement:
    """At most ``limit`` + 1 rows: one more than asked tells whether there is a next page."""
    conditions = [
        workspace(workspace_id),
        in_period(chosen.period),
        _of_type(chosen.type) if chosen.type else EMPTY,
        named(names_matching(chosen.event), "event_names") if chosen.event else EMPTY,
        belongs_to(workspace_id, chosen.profile_id) if chosen.profile_id else EMPTY,
        _after(after) if after else EMPTY,
    ]
    return join(
        " ",
        [
            _PAGE,
            join(" AND ", conditions),
            "ORDER BY timestamp DESC, received_partition DESC, received_offset DESC LIMIT",
            value("rows", "UInt32", limit + 1),
        ],
    )


def in_period(period: Period) -> Statement:
    """The condition ``start <= timestamp < end``, to the millisecond."""
    within, start = _between(period), to_millis(period.start)
    if start < _CLOCK_MARGIN_MS:
        return within
    # true of every event in the period, and lets ClickHouse leave out whole months and parts that arrived before
    arrived = value("arrived_ms", "Int64", start - _CLOCK_MARGIN_MS)
    return within + " AND received_at >= fromUnixTimestamp64Milli(" + arrived + ")"


def in_months(period: Period) -> Statement:
    """As :func:`in_period`, for questions over most of a month: leaves out months that arrived before, no parts.

    A month is left out by its name, where a condition on ``received_at`` reads that column of every event.
    """
    within, start = _between(period), to_millis(period.start)
    if start < _CLOCK_MARGIN_MS:
        return within
    arrived = value("arrived_ms", "Int64", start - _CLOCK_MARGIN_MS)
    month = "toString(toYYYYMM(fromUnixTimestamp64Milli(" + arrived + ", 'UTC')))"
    return within + " AND _partition_id >= " + month


def named(names: tuple[str, ...], parameter: str) -> Statement:
    return "event IN " + value(parameter, "Array(String)", list(names))


def _between(period: Period) -> Statement:
    return (
        "timestamp >= fromUnixTimestamp64Milli("
        + value("start_ms", "Int64", to_millis(period.start))
        + ") AND timestamp < fromUnixTimestamp64Milli("
        + value("end_ms", "Int64", to_millis(period.end))
        + ")"
    )


def _of_type(event_type: str) -> Statement:
    if event_type in TYPE_NAMES:
        return named(TYPE_NAMES[event_type], "type_names")
    if event_type == "custom":
        typed = tuple(name for names in TYPE_NAMES.values() for name in names)
        return "call = 'track' AND event NOT IN " + value("type_names", "Array(String)", list(typed))
    return "call = " + value("call", "String", event_type)


def _after(place: Place) -> Statement:
    return (
        "(timestamp, received_partition, received_offset) < (fromUnixTimestamp64Milli("
        + value("after_ms", "Int64", place.at)
        + "), "
        + value("after_partition", "Int32", place.partition)
        + ", "
        + value("after_offset", "Int64", place.offset)
        + ")"
    )
