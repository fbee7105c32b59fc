"""The resolver's statements: constants over arrays, one round trip per batch each."""
# ruff: noqa: S608 -- the statements are put together from constants of this module alone

from typing import Final

CLAIM: Final = """
INSERT INTO identity.partitions AS p (partition, epoch)
SELECT partition, 1 FROM unnest(%s::int[]) AS partition ORDER BY partition
ON CONFLICT (partition) DO UPDATE SET epoch = p.epoch + 1
RETURNING partition, epoch, next_offset, decisions"""

POSITIONS: Final = "SELECT partition, epoch, next_offset, decisions FROM identity.partitions WHERE partition = ANY(%s)"

FENCE: Final = """
SELECT partition, epoch, next_offset FROM identity.partitions WHERE partition = ANY(%s) ORDER BY partition FOR UPDATE"""

ADVANCE: Final = """
UPDATE identity.partitions AS p SET next_offset = t.next_offset, decisions = t.decisions
FROM unnest(%s::int[], %s::bigint[], %s::bytea[]) AS t(partition, next_offset, decisions)
WHERE p.partition = t.partition"""

# of each message the position when it was met at another offset; and, as NULL, those that were remembered just now.
# One that counts again on the same day, after a window of hours, is remembered by its later arrival
_SAID: Final = """
    SELECT * FROM unnest(%s::uuid[], %s::timestamptz[], %s::bigint[], %s::int[])
        WITH ORDINALITY AS t(id, received_at, "offset", partition, position)"""
_MET: Final = """
    SELECT t.position FROM said AS t JOIN identity.messages AS m ON m.id = t.id
    WHERE m.day = ANY(%s::date[])
      AND m.received_at BETWEEN t.received_at - %s AND t.received_at + %s
      AND (m.partition, m."offset") <> (t.partition, t."offset")"""

MET: Final = f"WITH said AS MATERIALIZED ({_SAID}){_MET}"

REMEMBER: Final = f"""
WITH said AS MATERIALIZED ({_SAID}), met AS MATERIALIZED ({_MET}), taken AS (
    INSERT INTO identity.messages AS m (id, day, received_at, "offset", partition)
    SELECT id, (received_at AT TIME ZONE 'UTC')::date, received_at, "offset", partition
    FROM said WHERE position NOT IN (SELECT position FROM met) ORDER BY id
    ON CONFLICT (id, day) DO UPDATE
        SET received_at = excluded.received_at, "offset" = excluded."offset", partition = excluded.partition
        WHERE m.received_at < excluded.received_at - %s
    RETURNING 1)
SELECT position, 0 FROM met UNION ALL SELECT NULL, count(*) FROM taken"""

_NODE_COLUMNS: Final = (
    "n.workspace_id, n.node_id, n.profile_id, n.kind, n.value, n.first_seen, n.last_seen, n.erased_at, n.state"
)

NODES: Final = f"""
SELECT {_NODE_COLUMNS} FROM unnest(%s::text[], %s::uuid[]) AS t(workspace_id, node_id)
JOIN identity.nodes AS n USING (workspace_id, node_id)"""

MEMBERS: Final = f"""
SELECT {_NODE_COLUMNS} FROM unnest(%s::text[], %s::uuid[]) AS t(workspace_id, id)
JOIN identity.nodes AS n ON n.workspace_id = t.workspace_id AND n.node_id = t.id
WHERE n.profile_id = n.node_id AND n.kind <> ''
UNION ALL
SELECT {_NODE_COLUMNS} FROM unnest(%s::text[], %s::uuid[]) AS t(workspace_id, id)
JOIN identity.nodes AS n ON n.workspace_id = t.workspace_id AND n.profile_id = t.id
WHERE n.profile_id <> n.node_id"""

ADD_NODES: Final = """
INSERT INTO identity.nodes AS n (workspace_id, node_id, profile_id, kind, value, first_seen, last_seen, state)
SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::text[], %s::text[], %s::timestamptz[], %s::timestamptz[],
                     %s::bytea[])"""

# erased_at stays: what arrived up to it stays suppressed when the identifier comes back to life
SAVE_NODES: Final = f"""{ADD_NODES}
ON CONFLICT (workspace_id, node_id) DO UPDATE SET
    profile_id = excluded.profile_id, kind = excluded.kind, value = excluded.value,
    first_seen = excluded.first_seen, last_seen = excluded.last_seen, state = excluded.state"""

MOVE_NODES: Final = """
UPDATE identity.nodes AS n SET profile_id = t.profile_id
FROM unnest(%s::text[], %s::uuid[], %s::uuid[]) AS t(workspace_id, node_id, profile_id)
WHERE n.workspace_id = t.workspace_id AND n.node_id = t.node_id"""

LINK_COLUMNS: Final = "l.workspace_id, l.a, l.b, l.first_at, l.status, l.message_id, l.source_id, l.reason"

LINKS: Final = f"""
SELECT {LINK_COLUMNS} FROM unnest(%s::text[], %s::uuid[], %s::uuid[]) AS t(workspace_id, a, b)
JOIN identity.links AS l USING (workspace_id, a, b)"""

# both ends of a link that holds are in one profile: one end is enough to find it
HELD_LINKS: Final = f"""
SELECT {LINK_COLUMNS} FROM unnest(%s::text[], %s::uuid[]) AS t(workspace_id, a)
JOIN identity.links AS l USING (workspace_id, a) WHERE l.status = 'h'"""

OPEN_LINKS: Final = f"""
SELECT {LINK_COLUMNS} FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[]) AS t(workspace_id, a, since)
JOIN identity.links AS l USING (workspace_id, a) WHERE l.status = 'r' AND l.first_at >= t.since
UNION
SELECT {LINK_COLUMNS} FROM unnest(%s::text[], %s::uuid[], %s::timestamptz[]) AS t(workspace_id, b, since)
JOIN identity.links AS l USING (workspace_id, b) WHERE l.status = 'r' AND l.first_at >= t.since"""

SAVE_LINKS: Final = """
INSERT INTO identity.links AS l (workspace_id, a, b, first_at, status, message_id, source_id, reason)
SELECT * FROM unnest(%s::text[], %s::uuid[], %s::uuid[], %s::timestamptz[], %s::"char"[], %s::text[], %s::text[],
                     %s::text[])
ON CONFLICT (workspace_id, a, b) DO UPDATE SET first_at = excluded.first_at, status = excluded.status,
    message_id = excluded.message_id, source_id = excluded.source_id, reason = excluded.reason"""

RESERVE_ORDERS: Final = """
INSERT INTO identity.orders (workspace_id, order_id)
SELECT * FROM unnest(%s::text[], %s::text[]) AS t(workspace_id, order_id) ORDER BY 1, 2
ON CONFLICT DO NOTHING"""

LOCK_ORDERS: Final = """
SELECT o.workspace_id, o.order_id, o.facts, o.currency, o.net_minor, o.refunded_minor, o.placed_at
FROM unnest(%s::text[], %s::text[]) AS t(workspace_id, order_id)
JOIN identity.orders AS o USING (workspace_id, order_id) ORDER BY 1, 2 FOR UPDATE OF o"""

SAVE_ORDERS: Final = """
UPDATE identity.orders AS o SET node_id = t.node_id, placed_at = t.placed_at, net_minor = t.net,
    refunded_minor = t.refunded, counted = t.placed_at IS NOT NULL, currency = t.currency, facts = t.facts
FROM unnest(%s::text[], %s::text[], %s::uuid[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::text[], %s::bytea[])
    AS t(workspace_id, order_id, node_id, placed_at, net, refunded, currency, facts)
WHERE o.workspace_id = t.workspace_id AND o.order_id = t.order_id"""

SUMS: Final = """
SELECT workspace_id, node_id, o.currency, sum(o.net_minor), sum(o.refunded_minor), count(*)::int,
       min(o.placed_at), max(o.placed_at)
FROM unnest(%s::text[], %s::uuid[]) AS t(workspace_id, node_id)
JOIN identity.orders AS o USING (workspace_id, node_id) WHERE o.counted
GROUP BY 1, 2, 3"""

PROFILE_COLUMNS: Final = (
    "p.workspace_id, p.profile_id, p.version, p.created_at, p.updated_at, p.first_seen, p.last_seen, p.consent_at, "
    "p.first_order_at, p.last_order_at, p.ltv_minor, p.refunded_minor, p.order_count, p.currency, p.traits, "
    "p.consent, p.by_currency"
)

PROFILES: Final = f"""
SELECT {PROFILE_COLUMNS} FROM unnest(%s::text[], %s::uuid[]) AS t(workspace_id, profile_id)
JOIN identity.profiles AS p USING (workspace_id, profile_id)"""

LOCK_PROFILES: Final = PROFILES + " ORDER BY 1, 2 FOR UPDATE OF p"

_INSERT_PROFILES: Final = """
INSERT INTO identity.profiles (workspace_id, profile_id, version, created_at, updated_at, first_seen, last_seen,
    consent_at, first_order_at, last_order_at, ltv_minor, refunded_minor, order_count, currency, traits, consent,
    by_currency)
SELECT workspace_id, profile_id, coalesce(version, nextval('identity.profile_versions')), created_at, updated_at,
    first_seen, last_seen, consent_at, first_order_at, last_order_at, ltv, refunded, orders, currency, traits, consent,
    by_currency
FROM unnest(%s::text[], %s::uuid[], %s::bigint[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[],
    %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::timestamptz[], %s::bigint[], %s::bigint[], %s::int[],
    %s::text[], %s::jsonb[], %s::jsonb[], %s::jsonb[])
    AS t(workspace_id, profile_id, version, created_at, updated_at, first_seen, last_seen, consent_at, first_order_at,
         last_order_at, ltv, refunded, orders, currency, traits, consent, by_currency)"""

# what has no version yet is given one; the rows come sorted
MAKE_PROFILES: Final = f"""{_INSERT_PROFILES}
ON CONFLICT DO NOTHING RETURNING workspace_id, profile_id, version"""

SAVE_PROFILES: Final = f"""{_INSERT_PROFILES}
ON CONFLICT (workspace_id, profile_id) DO UPDATE SET version = excluded.version, created_at = excluded.created_at,
    updated_at = excluded.updated_at, first_seen = excluded.first_seen, last_seen = excluded.last_seen,
    consent_at = excluded.consent_at, first_order_at = excluded.first_order_at,
    last_order_at = excluded.last_order_at, ltv_minor = excluded.ltv_minor,
    refunded_minor = excluded.refunded_minor, order_count = excluded.order_count, currency = excluded.currency,
    traits = excluded.traits, consent = excluded.consent, by_currency = excluded.by_currency"""

_THESE: Final = "USING unnest(%s::text[], %s::uuid[]) AS t(workspace_id, id) WHERE x.workspace_id = t.workspace_id AND "

DELETE_PROFILES: Final = f"DELETE FROM identity.profiles AS x {_THESE} x.profile_id = t.id"

SAVE_CONSENTS: Final = """
INSERT INTO identity.consents (workspace_id, node_id, purpose, granted, at, message_id, source_id)
SELECT * FROM unnest(%s::text[], %s::uuid[], %s::text[], %s::boolean[], %s::timestamptz[], %s::text[], %s::text[])
ON CONFLICT DO NOTHING"""

VERSIONS: Final = "SELECT nextval('identity.profile_versions') FROM generate_series(1, %s)"

ERASE_NODES: Final = """
UPDATE identity.nodes AS n SET erased_at = greatest(n.erased_at, %s), profile_id = n.node_id, kind = '', value = '',
    state = NULL, last_seen = NULL, first_seen = 'epoch'
FROM unnest(%s::text[], %s::uuid[]) AS t(workspace_id, id) WHERE n.workspace_id = t.workspace_id AND n.node_id = t.id"""

# both ends of a link that holds are erased: one is enough to find it, and the others have an index by the second.
# Orders that count have an index of their own
ERASE_REST: Final = (
    f"DELETE FROM identity.links AS x {_THESE} x.a = t.id",
    f"DELETE FROM identity.links AS x {_THESE} x.b = t.id AND x.status <> 'h'",
    f"DELETE FROM identity.orders AS x {_THESE} x.node_id = t.id AND x.counted",
    f"DELETE FROM identity.orders AS x {_THESE} x.node_id = t.id AND NOT x.counted",
    f"DELETE FROM identity.consents AS x {_THESE} x.node_id = t.id",
)
