-- why: the event store, its daily counters, the profile replica and the node aliases that the recorder writes

-- No projection and no skip index: for a node's timeline the primary key skips granules (few event names lead it), and
-- for the newest events the parts' own minimum and maximum of received_at do (readers ask for the last minutes first,
-- then for more). Two lightweight projections cost 18 bytes an event and half of the insert again (measured).
-- fsync_after_insert is off: kill -9 loses nothing, a power cut may; ALTER TABLE events MODIFY SETTING
-- fsync_after_insert = 1 costs 0.1 s per block where there is no replica.
CREATE TABLE IF NOT EXISTS events
(
    workspace_id LowCardinality(String),
    event LowCardinality(String),
    node_id UUID,
    timestamp DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    received_at DateTime64(3, 'UTC') CODEC(Delta, ZSTD(1)),
    call LowCardinality(String),
    message_id String CODEC(ZSTD(1)),
    source_id LowCardinality(String),
    session_id String CODEC(ZSTD(1)),
    user_id String CODEC(ZSTD(1)),
    anonymous_id String CODEC(ZSTD(1)),
    properties String CODEC(ZSTD(3)),
    traits String CODEC(ZSTD(3)),
    context String CODEC(ZSTD(3)),
    received_partition Int32 CODEC(ZSTD(1)),
    received_offset Int64 CODEC(Delta, ZSTD(1))
)
ENGINE = MergeTree
PARTITION BY toYYYYMM(received_at)
ORDER BY (workspace_id, event, node_id, timestamp)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS counters
(
    workspace_id LowCardinality(String),
    event LowCardinality(String),
    node_id UUID,
    day Date,
    count SimpleAggregateFunction(sum, UInt64),
    first_at SimpleAggregateFunction(min, DateTime64(3, 'UTC')),
    last_at SimpleAggregateFunction(max, DateTime64(3, 'UTC'))
)
ENGINE = AggregatingMergeTree
ORDER BY (workspace_id, event, node_id, day)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS counters_from_events TO counters AS
SELECT workspace_id, event, node_id, toDate(timestamp) AS day,
       count() AS count, min(timestamp) AS first_at, max(timestamp) AS last_at
FROM events
GROUP BY workspace_id, event, node_id, day;

CREATE TABLE IF NOT EXISTS profiles
(
    workspace_id LowCardinality(String),
    profile_id UUID,
    version UInt64,
    deleted UInt8,
    created_at DateTime64(3, 'UTC'),
    updated_at DateTime64(3, 'UTC'),
    first_seen DateTime64(3, 'UTC'),
    last_seen DateTime64(3, 'UTC'),
    identifiers Map(LowCardinality(String), Array(String)),
    traits JSON(max_dynamic_paths = 256),
    consent Map(LowCardinality(String), Bool),
    currency LowCardinality(String),
    ltv_minor Int64,
    refunded_minor Int64,
    order_count UInt32,
    first_order_at Nullable(DateTime64(3, 'UTC')),
    last_order_at Nullable(DateTime64(3, 'UTC'))
)
ENGINE = ReplacingMergeTree(version, deleted)
ORDER BY (workspace_id, profile_id)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE TABLE IF NOT EXISTS profile_aliases
(
    workspace_id LowCardinality(String),
    node_id UUID,
    profile_id UUID,
    version UInt64
)
ENGINE = ReplacingMergeTree(version)
ORDER BY (workspace_id, node_id)
SETTINGS non_replicated_deduplication_window = 10000;

-- last_offset proves that a block has arrived: the blocks of one partition arrive in order
CREATE TABLE IF NOT EXISTS event_outcomes
(
    workspace_id LowCardinality(String),
    source_id LowCardinality(String),
    minute DateTime('UTC'),
    outcome LowCardinality(String),
    count SimpleAggregateFunction(sum, UInt64),
    received_partition Int32,
    last_offset SimpleAggregateFunction(max, Int64)
)
ENGINE = AggregatingMergeTree
ORDER BY (workspace_id, source_id, minute, outcome, received_partition)
SETTINGS non_replicated_deduplication_window = 10000;

CREATE MATERIALIZED VIEW IF NOT EXISTS stored_outcomes_from_events TO event_outcomes AS
SELECT workspace_id, source_id, toStartOfMinute(received_at) AS minute, 'stored' AS outcome,
       count() AS count, received_partition, max(received_offset) AS last_offset
FROM events
GROUP BY workspace_id, source_id, minute, outcome, received_partition;
