-- why: ClickHouse logs a block's token a moment before its part is there, and passes a repetition on to the views. Killed
-- in between, it has the token and not the rows: sent again, the views count them and the table never takes them. The
-- recorder then writes them under another token as rewritten, and the views pass over what they have counted.
-- A column of defaults alone costs no space.

-- nothing must come in meanwhile: a recorder waits, however long, where there are too many parts
ALTER TABLE events MODIFY SETTING parts_to_throw_insert = 1;

ALTER TABLE events ADD COLUMN IF NOT EXISTS rewritten Bool DEFAULT false;

-- where an earlier run ended while one of them was detached
ATTACH TABLE IF NOT EXISTS counters_from_events;
ATTACH TABLE IF NOT EXISTS stored_outcomes_from_events;

-- until it is attached anew, a view with a new query takes the tokens that it had before for others
ALTER TABLE counters_from_events MODIFY QUERY
SELECT workspace_id, event, node_id, toDate(timestamp) AS day,
       count() AS count, min(timestamp) AS first_at, max(timestamp) AS last_at
FROM events WHERE NOT rewritten
GROUP BY workspace_id, event, node_id, day;
DETACH TABLE IF EXISTS counters_from_events;
ATTACH TABLE IF NOT EXISTS counters_from_events;

ALTER TABLE stored_outcomes_from_events MODIFY QUERY
SELECT workspace_id, source_id, toStartOfMinute(received_at) AS minute, 'stored' AS outcome,
       count() AS count, received_partition, max(received_offset) AS last_offset
FROM events WHERE NOT rewritten
GROUP BY workspace_id, source_id, minute, outcome, received_partition;
DETACH TABLE IF EXISTS stored_outcomes_from_events;
ATTACH TABLE IF NOT EXISTS stored_outcomes_from_events;

ALTER TABLE events RESET SETTING parts_to_throw_insert;
