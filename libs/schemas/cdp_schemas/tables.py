"""The ClickHouse tables that more than one service reads: their owner, columns and how to read them exactly."""

from dataclasses import dataclass
from typing import Final


@dataclass(frozen=True, slots=True)
class Table:
    """A table, who writes it, and the columns that readers may rely on (its DDL is in the owner's migrations)."""

    name: str
    owner: str
    columns: tuple[str, ...]


EVENTS: Final = Table(
    "events",
    "recorder",
    (
        *("workspace_id", "event", "node_id", "timestamp", "received_at", "call", "message_id", "source_id"),
        *("session_id", "user_id", "anonymous_id", "properties", "traits", "context"),
        *("received_partition", "received_offset"),
    ),
)
# daily counts, summed on read: sum(count), min(first_at), max(last_at) grouped by what is asked
COUNTERS: Final = Table(
    "counters", "recorder", ("workspace_id", "event", "node_id", "day", "count", "first_at", "last_at")
)
# read with FINAL, which also hides the deleted
PROFILES: Final = Table(
    "profiles",
    "recorder",
    (
        *("workspace_id", "profile_id", "version", "deleted", "created_at", "updated_at", "first_seen", "last_seen"),
        *("identifiers", "traits", "consent", "currency", "ltv_minor", "refunded_minor", "order_count"),
        *("first_order_at", "last_order_at"),
    ),
)
# read with FINAL; a node without a row is its own profile
PROFILE_ALIASES: Final = Table("profile_aliases", "recorder", ("workspace_id", "node_id", "profile_id", "version"))
EVENT_OUTCOMES: Final = Table("event_outcomes", "recorder", ("workspace_id", "source_id", "minute", "outcome", "count"))
TABLES: Final = (EVENTS, COUNTERS, PROFILES, PROFILE_ALIASES, EVENT_OUTCOMES)
