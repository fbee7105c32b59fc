"""Every metric of every process, with its type, labels and meaning; a misspelled one does not import."""

from typing import Final

from prometheus_client import Counter, Gauge, Histogram

_FRESHNESS = (0.05, 0.1, 0.25, 0.5, 1, 2, 5, 10, 30, 60, 300, 1800)
_FAST = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10)


def _from_the_start(counter: Counter, *values: str) -> Counter:
    """A counter that alerts ask for, with its series: ``increase`` does not count what one is born with."""
    for value in values:
        counter.labels(value)
    return counter


# every process
READY: Final = Gauge("cdp_process_ready", "1 when every dependency is there, else 0")
CONSUMER_LAG: Final = Gauge(
    "cdp_consumer_lag_records", "Records behind the end of the log", ["group", "topic", "partition"]
)
HTTP_CONNECTIONS_CUT: Final = Counter(
    "cdp_http_connections_cut_total", "Connections cut: slow head, slow body, head too large, slow reader", ["reason"]
)
FRESHNESS: Final = Histogram(
    "cdp_freshness_seconds",
    "Seconds from an event's arrival to a stage: profile, recorded, membership, delivered",
    ["stage"],
    buckets=_FRESHNESS,
)

# ingest
INGEST_CALLS: Final = Counter("cdp_ingest_calls_total", "Calls to the gateway by the status answered", ["status"])
INGEST_ACCEPTED: Final = Counter("cdp_ingest_events_accepted_total", "Events acknowledged by the log and answered 200")
INGEST_REFUSED: Final = _from_the_start(
    Counter("cdp_ingest_events_refused_total", "Events set apart as dead letters", ["reason"]),
    *("event_malformed", "event_too_large", "batch_too_long", "too_deep", "invalid_utf8", "nul_character"),
    *("lone_surrogate", "number_out_of_range", "field_invalid", "field_too_long", "timestamp_invalid", "type_unknown"),
    *("event_name_missing", "identity_missing", "consent", "write_key_unknown"),
)
INGEST_BARED: Final = Counter(
    "cdp_ingest_events_bared_total", "Accepted changes of consent of which, for lack of consent, nothing else was kept"
)
INGEST_REJECTED: Final = Counter("cdp_ingest_calls_refused_total", "Calls answered with an error", ["reason"])
INGEST_UNCERTAIN: Final = Counter(
    "cdp_ingest_events_uncertain_total", "Events answered 503 that the log may have nevertheless; the client resends"
)
INGEST_ACK_SECONDS: Final = Histogram(
    "cdp_ingest_ack_seconds", "Seconds from publishing a call's events to their acknowledgement", buckets=_FAST
)
INGEST_BUFFERED: Final = Gauge(
    "cdp_ingest_buffered_bytes", "Bytes of bodies between arrival and answer", multiprocess_mode="livesum"
)

# analytics-api
API_REQUESTS: Final = Counter("cdp_api_requests_total", "Requests to the front door", ["method", "route", "status"])
API_REQUEST_SECONDS: Final = Histogram(
    "cdp_api_request_seconds", "Seconds from a request's arrival to the start of its answer", ["route"], buckets=_FAST
)
API_RATE_LIMITED: Final = Counter("cdp_api_requests_limited_total", "Requests answered 429")
API_GUESSES_LIMITED: Final = Counter(
    "cdp_api_guesses_limited_total", "Requests answered 429 because too many wrong tokens came from their address"
)
API_LIMITER_FAILURES: Final = Counter(
    "cdp_api_limiter_failures_total", "Requests that a process counted alone because Redis was out of reach"
)
API_STREAM_CLIENTS: Final = Gauge("cdp_api_stream_clients", "Listeners of the live event stream")
API_STREAM_DROPPED: Final = Counter(
    "cdp_api_stream_events_dropped_total", "Events that slow listeners of the live stream did not get"
)
API_STREAMS_REFUSED: Final = Counter(
    "cdp_api_streams_refused_total", "Live streams answered 429, by whose limit was reached", ["limit"]
)
API_STREAMS_ENDED: Final = Counter(
    "cdp_api_streams_ended_total", "Live streams ended by the server: stopped, revoked, unchecked or slow", ["reason"]
)
API_QUARANTINED: Final = Counter("cdp_api_quarantine_events_total", "Refused events taken into the quarantine")

# resolver
RESOLVER_EVENTS: Final = _from_the_start(
    Counter("cdp_resolver_events_total", "Events resolved, by what became of them", ["outcome"]),
    *("stored", "duplicate", "quarantined", "suppressed"),
)
RESOLVER_PROFILES: Final = Counter("cdp_resolver_profiles_updated_total", "Golden records that changed")
RESOLVER_MERGES: Final = Counter(
    "cdp_resolver_nodes_moved_total", "Nodes that changed their profile: merge, unmerge, erased", ["reason"]
)
RESOLVER_REFUSED_LINKS: Final = Counter(
    "cdp_resolver_links_refused_total", "Links that do not hold because a guard forbids it", ["reason"]
)
RESOLVER_DROPPED_TRAITS: Final = Counter(
    "cdp_resolver_traits_dropped_total", "Traits that a profile has no space for; their events are stored"
)
RESOLVER_DROPPED_PURPOSES: Final = Counter(
    "cdp_resolver_purposes_dropped_total",
    "Purposes of consent that an identifier has no space for; their events are stored",
)
RESOLVER_TOO_LARGE: Final = Counter(
    "cdp_resolver_messages_too_large_total",
    "Messages that their topic did not take; told without what made them large, the log says which",
    ["topic"],
)
RESOLVER_UNREAD_AMOUNTS: Final = Counter(
    "cdp_resolver_amounts_unread_total",
    "Orders and refunds that name an amount which cannot be read: it counts for nothing, their events are stored",
)
RESOLVER_BATCH_SECONDS: Final = Histogram(
    "cdp_resolver_batch_seconds", "Seconds from a batch to its commit and publication", buckets=_FAST
)
RESOLVER_FENCED: Final = Counter(
    "cdp_resolver_partitions_fenced_total", "Partitions let go because another worker had claimed them"
)

# recorder
RECORDER_ROWS: Final = Counter(
    "cdp_recorder_rows_total",
    "Rows made durable: written, again or completed after a failure, found there already",
    ["table", "settled"],
)
RECORDER_BLOCK_ROWS: Final = Histogram(
    "cdp_recorder_block_rows", "Rows of one inserted block", ["table"], buckets=(1, 10, 100, 1000, 5000, 20_000)
)
RECORDER_FLUSH_SECONDS: Final = Histogram(
    "cdp_recorder_flush_seconds", "Seconds from a batch to its events recorded, told and closed", buckets=_FAST
)
RECORDER_REPEATS: Final = Counter("cdp_recorder_repeats_skipped_total", "Events that were recorded before")
RECORDER_UNREADABLE: Final = Counter("cdp_recorder_records_unreadable_total", "Records that are no message")
RECORDER_INTENTS_RECOVERED: Final = Counter(
    "cdp_recorder_intents_recovered_total", "Ranges that an earlier worker left open and this one finished"
)
RECORDER_ROWS_REWRITTEN: Final = _from_the_start(
    Counter(
        "cdp_recorder_rows_rewritten_total",
        "Rows that ClickHouse had taken and not kept when it was killed, written again",
        ["table"],
    ),
    *("events", "event_outcomes"),
)
RECORDER_FENCED: Final = Counter(
    "cdp_recorder_partitions_fenced_total", "Partitions let go because another worker had claimed them"
)
RECORDER_DROPPED_TRAITS: Final = Counter(
    "cdp_recorder_traits_dropped_total", "Traits that ClickHouse refused; the profile was written without them"
)
RECORDER_ERASED_NODES: Final = Counter("cdp_recorder_nodes_erased_total", "Nodes whose rows were removed for good")

# segmenter
SEGMENTER_PROFILES: Final = Counter("cdp_segmenter_profiles_evaluated_total", "Profiles looked at in all segments")
SEGMENTER_EVALUATION_SECONDS: Final = Histogram(
    "cdp_segmenter_evaluation_seconds",
    "Seconds of one evaluation with its commit: incremental (some profiles) or full (a part of all)",
    ["kind"],
    buckets=_FAST,
)
SEGMENTER_CHANGES: Final = Counter(
    "cdp_segmenter_membership_changes_total", "Profiles that entered or exited a segment", ["change", "cause"]
)
SEGMENTER_SWEPT: Final = Counter(
    "cdp_segmenter_profiles_due_total", "Profiles that were looked at because time alone may have moved them"
)
SEGMENTER_SWEEP_SECONDS: Final = Histogram(
    "cdp_segmenter_sweep_seconds", "Seconds of one sweep over all workspaces", buckets=_FAST
)
SEGMENTER_OUTBOX: Final = Gauge("cdp_segmenter_outbox_messages", "Changes not yet on memberships-changed")
SEGMENTER_BUILDING: Final = Gauge("cdp_segmenter_building_segments", "Segments that are being built")
SEGMENTER_REFUSED: Final = _from_the_start(
    Counter(
        "cdp_segmenter_workspace_refused_total",
        "Work for one workspace that could not be done and rests: build, end, reconciliation, sweep, moments, "
        "requests, or changes, which are left to the reconciliation",
        ["work"],
    ),
    *("build", "end", "reconciliation", "sweep", "moments", "requests", "changes"),
)
SEGMENTER_UNREADABLE: Final = Counter("cdp_segmenter_records_unreadable_total", "Records that are no message")

# activation
ACTIVATION_CALLS: Final = Counter(
    "cdp_activation_calls_total", "Calls to destinations by what came of them", ["type", "operation", "outcome"]
)
ACTIVATION_CALL_SECONDS: Final = Histogram(
    "cdp_activation_call_seconds", "Seconds from a call to its whole answer", ["type"], buckets=_FAST
)
ACTIVATION_DELIVERIES: Final = Counter(
    "cdp_activation_deliveries_total",
    "Members by what became of them at a destination",
    ["type", "operation", "outcome"],
)
ACTIVATION_BREAKER: Final = Gauge(
    "cdp_activation_breaker_open", "1 while a destination rests after failing repeatedly", ["type", "destination"]
)
ACTIVATION_PENDING: Final = Gauge("cdp_activation_pending_deliveries", "Members to be sent or removed", ["type"])
ACTIVATION_OLDEST: Final = Gauge(
    "cdp_activation_oldest_pending_seconds", "Age of the oldest change that a destination does not have yet", ["type"]
)
ACTIVATION_OUTBOX: Final = Gauge("cdp_activation_outbox_messages", "Reports not yet on deliveries-reported")
ACTIVATION_RECONCILED: Final = Counter(
    "cdp_activation_reconciled_deliveries_total", "Members that the sweep found out of step with their segments"
)
ACTIVATION_UNREADABLE: Final = Counter(
    "cdp_activation_records_unreadable_total", "Records that are no message", ["topic"]
)
