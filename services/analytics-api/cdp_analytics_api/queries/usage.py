"""What became of arrived events, per source and minute -> a statement over the recorder's outcomes."""

from math import ceil

from cdp_analytics_api.periods import Period
from cdp_analytics_api.queries.nodes import workspace
from cdp_clickhouse.statement import EMPTY, Statement, join, value


def outcomes(workspace_id: str, period: Period, source_id: str | None) -> Statement:
    """Rows (source_id, minute_s, outcome, events) of the minutes of arrival in the period; ``minute_s`` since 1970."""
    return join(
        " ",
        [
            "SELECT source_id, toUnixTimestamp(minute) AS minute_s, outcome, sum(count) AS events",
            "FROM event_outcomes WHERE",
            join(" AND ", [workspace(workspace_id), _minutes(period), _source(source_id)]),
            "GROUP BY source_id, minute_s, outcome ORDER BY minute_s, source_id, outcome",
        ],
    )


def _minutes(period: Period) -> Statement:
    """Rounded up: a minute is whole, so these are the same minutes that the exact bounds hold."""
    since = value("start_s", "UInt32", ceil(period.start.timestamp()))
    until = value("end_s", "UInt32", ceil(period.end.timestamp()))
    return join("", ["minute >= toDateTime(", since, ", 'UTC') AND minute < toDateTime(", until, ", 'UTC')"])


def _source(source_id: str | None) -> Statement:
    return "source_id = " + value("source", "String", source_id) if source_id else EMPTY
