"""The ledger's statements. Values are bound by name; what f-strings join are constants of this file (hence S608)."""

from typing import Final

_ROW: Final = "workspace_id = %(workspace)s AND audience_id = %(audience)s AND destination_id = %(destination)s"
_D_ROW: Final = "d.workspace_id = %(workspace)s AND d.audience_id = %(audience)s AND d.destination_id = %(destination)s"
_CLAIMED: Final = """d.profile_id, d.sequence, d.desired, d.acknowledged, d.sent, d.attempts, d.failing_since, d.cause,
    d.claim, d.changed_at, d.received_at, d.outcome,
    greatest(d.min_version, coalesce((SELECT f.version FROM activation.profile_floors f
        WHERE f.workspace_id = d.workspace_id AND f.profile_id = d.profile_id), 0)) AS min_version"""

# Joins of a list with the ledger go row by row through the primary key: on a table whose statistics are not there yet
# the planner believes that an audience has one member and compares every row with every other. OFFSET 0 and ctid
# leave it no choice.
_FOUND: Final = f"""CROSS JOIN LATERAL (
    SELECT x.ctid AS place FROM activation.deliveries x
    WHERE {_D_ROW.replace("d.", "x.")} AND x.profile_id = u.profile_id OFFSET 0) AS found"""  # noqa: S608
# What was told of the profile before it became a member, or before its last change, is known when work on it begins.
# Later versions come by themselves: a row that waits for one is not to wait for the next one as well.
_CLAIMING: Final = """claim = %(claim)s, claimed_sequence = d.sequence,
    min_version = CASE WHEN d.claimed_sequence = d.sequence THEN d.min_version
        ELSE greatest(d.min_version, (SELECT t.version FROM activation.told_versions t
            WHERE t.workspace_id = d.workspace_id AND t.profile_id = d.profile_id)) END"""

TAKE_TURN: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 6261))"
# who is about to be sent is noted while nobody is put on the workspace's suppression list: of the two, the later one
# sees the earlier. Taken before the turn
WHILE_NOBODY_IS_SUPPRESSED: Final = "SELECT pg_advisory_xact_lock_shared(hashtextextended(%s, 6263))"
SUPPRESS_ALONE: Final = "SELECT pg_advisory_xact_lock(hashtextextended(%s, 6263))"

CLAIM: Final = f"""
WITH due AS (
    SELECT ctid AS place FROM activation.deliveries
    WHERE {_ROW} AND pending AND priority = %(priority)s AND next_attempt_at <= %(now)s
    ORDER BY next_attempt_at LIMIT %(limit)s FOR UPDATE SKIP LOCKED
)
UPDATE activation.deliveries d SET {_CLAIMING}
FROM due WHERE d.ctid = due.place
RETURNING {_CLAIMED}
"""  # noqa: S608

# without a claim: a replacement that is under way has its own on them
LEAVING: Final = f"""
SELECT {_CLAIMED} FROM activation.deliveries d
WHERE {_D_ROW} AND d.pending AND d.priority = 0 AND d.next_attempt_at <= %(now)s AND d.sent IS NOT NULL
ORDER BY d.next_attempt_at LIMIT %(limit)s
"""  # noqa: S608

# whoever is not sent with this page, such as a member whose profile is behind, does not count as sent
PAGE: Final = f"""
WITH page AS (
    SELECT ctid AS place FROM activation.deliveries
    WHERE {_ROW} AND desired AND profile_id > %(after)s
    ORDER BY profile_id LIMIT %(limit)s FOR UPDATE
)
UPDATE activation.deliveries d SET {_CLAIMING},
    outcome = CASE WHEN d.outcome IN ('sending', 'delivered') THEN 'waiting' ELSE d.outcome END
FROM page WHERE d.ctid = page.place
RETURNING {_CLAIMED}
"""  # noqa: S608

# only who may still be sent: has not left, withdrawn a consent or been suppressed since; and nobody, where
# the connection was paused or points elsewhere by now. A row that changed otherwise is sent as planned, and again
WRITE_AHEAD: Final = f"""
UPDATE activation.deliveries d SET sent = u.sent, keys = u.keys::bigint[], acknowledged = false, outcome = 'sending'
FROM unnest(%(profiles)s::uuid[], %(sent)s::bytea[], %(keys)s::text[]) AS u(profile_id, sent, keys)
{_FOUND}
WHERE d.ctid = found.place AND d.claim = %(claim)s
  AND d.desired AND (d.sequence = d.claimed_sequence OR d.priority > 0)
  AND NOT EXISTS (SELECT FROM activation.suppressions s
      WHERE s.workspace_id = %(workspace)s AND s.value_key = ANY(u.keys::bigint[])
        AND s.destination_id IN ('', %(destination)s))
  AND EXISTS (SELECT FROM activation.connections c WHERE {_D_ROW.replace("d.", "c.")}
      AND c.settings = %(settings)s AND c.paused_class IS DISTINCT FROM 'requested')
RETURNING d.profile_id
"""  # noqa: S608

RECORD: Final = f"""
UPDATE activation.deliveries d SET
    acknowledged = u.acknowledged, sent = u.sent,
    keys = CASE WHEN u.sent IS NOT NULL THEN coalesce(u.keys::bigint[], d.keys) END,
    attempts = CASE WHEN d.sequence = u.sequence THEN u.attempts ELSE 0 END,
    failing_since = CASE WHEN d.sequence = u.sequence THEN u.since END,
    outcome = u.outcome, error_class = u.class, last_error = u.error,
    fingerprint = CASE WHEN d.sequence = u.sequence THEN coalesce(u.fingerprint, d.fingerprint) ELSE d.fingerprint END,
    pending = d.sequence <> u.sequence OR u.at IS NOT NULL,
    next_attempt_at = CASE WHEN d.sequence = u.sequence THEN coalesce(u.at, d.next_attempt_at)
                      ELSE d.next_attempt_at END,
    acknowledged_at = CASE WHEN u.acknowledged AND NOT d.acknowledged THEN now() ELSE d.acknowledged_at END,
    removed_at = CASE WHEN u.sent IS NULL AND d.sent IS NOT NULL THEN now() ELSE d.removed_at END
FROM unnest(%(profiles)s::uuid[], %(sequences)s::bigint[], %(acknowledged)s::boolean[], %(sent)s::bytea[],
            %(keys)s::text[], %(at)s::timestamptz[], %(attempts)s::int[], %(since)s::timestamptz[],
            %(outcomes)s::text[], %(classes)s::text[], %(errors)s::text[], %(fingerprints)s::bytea[])
    AS u(profile_id, sequence, acknowledged, sent, keys, at, attempts, since, outcome, class, error, fingerprint)
{_FOUND}
WHERE d.ctid = found.place AND d.claim = %(claim)s
"""  # noqa: S608

REPORT: Final = """
INSERT INTO activation.outbox (key, message)
SELECT key, message FROM unnest(%(keys)s::bytea[], %(messages)s::bytea[]) WITH ORDINALITY AS u(key, message, n)
ORDER BY n
"""

# whoever is about to go for privacy's sake goes no later for what else happens to the row; and what is sent under an
# earlier claim knows them by nothing but this
_NO_LATER: Final = "CASE WHEN d.pending AND d.priority = 0 THEN 0 ELSE {otherwise} END"
CHANGED_PRIORITY: Final = _NO_LATER.format(otherwise=2)

SEND_AGAIN: Final = f"""
UPDATE activation.deliveries d
SET pending = true, acknowledged = false, sequence = d.sequence + 1, priority = {CHANGED_PRIORITY},
    next_attempt_at = now()
WHERE {_D_ROW} AND d.desired AND d.sent IS NOT NULL AND d.keys && %(keys)s::bigint[]
  AND d.profile_id <> ALL(%(removed)s::uuid[])
"""  # noqa: S608

# whoever has not changed since the connection's settings did, or somebody asked to try anew. What is as it should be is
# settled again without a call
RECHECK: Final = f"""
UPDATE activation.deliveries d
SET pending = true, sequence = d.sequence + 1, attempts = 0, failing_since = NULL, received_at = NULL,
    changed_at = now(), next_attempt_at = now(),
    priority = CASE WHEN d.pending OR NOT d.desired THEN d.priority ELSE 3 END
WHERE d.ctid = ANY(ARRAY(
    SELECT x.ctid FROM activation.deliveries x
    JOIN activation.connections c USING (workspace_id, audience_id, destination_id)
    WHERE {_D_ROW.replace("d.", "x.")} AND (x.desired OR x.sent IS NOT NULL) AND x.changed_at < c.recheck_at
    LIMIT %(limit)s))
"""  # noqa: S608

# what is still to be done has changed with it: a call about the same members as before is no repetition, by which the
# receiver of a webhook would know it and drop it
REPLACED_PRESENT: Final = f"""
UPDATE activation.deliveries d SET acknowledged = true, acknowledged_at = %(now)s, outcome = 'delivered',
    pending = d.sequence <> d.claimed_sequence,
    changed_at = CASE WHEN d.sequence <> d.claimed_sequence THEN %(now)s ELSE d.changed_at END,
    attempts = 0, failing_since = NULL, error_class = NULL, last_error = NULL
WHERE {_D_ROW} AND d.claim = %(claim)s AND d.sent IS NOT NULL AND d.outcome = 'sending'
"""  # noqa: S608

REPLACED_ABSENT: Final = f"""
UPDATE activation.deliveries d SET acknowledged = false, sent = NULL, keys = NULL, removed_at = %(now)s,
    pending = d.desired, next_attempt_at = %(now)s, changed_at = %(now)s
WHERE {_D_ROW} AND d.sent IS NOT NULL AND NOT (d.claim = %(claim)s AND d.outcome = 'delivered')
"""  # noqa: S608

GUARD_COUNTS: Final = f"""
SELECT count(*) FILTER (WHERE sent IS NOT NULL) AS there,
       count(*) FILTER (WHERE sent IS NOT NULL AND pending AND NOT desired AND cause = 'membership') AS leaving,
       count(*) FILTER (WHERE sent IS NULL AND NOT desired
                        AND cause = 'membership' AND removed_at >= %(since)s) AS left,
       count(*) FILTER (WHERE desired) AS wanted
FROM activation.deliveries WHERE {_ROW}
"""  # noqa: S608

SUPPRESSED: Final = """
SELECT DISTINCT value_key FROM activation.suppressions
WHERE workspace_id = %(workspace)s AND value_key = ANY(%(keys)s::bigint[]) AND destination_id IN ('', %(destination)s)
"""

# of an audience ``a``, for whoever lists audiences
MEMBERS: Final = """(
    SELECT count(DISTINCT m.profile_id) FROM activation.memberships m
    LEFT JOIN activation.profile_floors f ON f.workspace_id = m.workspace_id AND f.profile_id = m.profile_id
    WHERE m.workspace_id = a.workspace_id AND m.segment_id = ANY(a.segment_ids) AND m.member
      AND f.deleted IS NOT TRUE)"""

# members of the audience's segments while the connection is active, without the erased and the merged
_WANTED: Final = """
    SELECT m.profile_id, max(m.received_at) AS received_at
    FROM activation.connections c
    JOIN activation.audiences a USING (workspace_id, audience_id)
    {members}
    LEFT JOIN activation.profile_floors f ON f.workspace_id = c.workspace_id AND f.profile_id = m.profile_id
    WHERE c.workspace_id = %(workspace)s AND c.audience_id = %(audience)s AND c.destination_id = %(destination)s
      AND c.active AND a.deleted_at IS NULL AND m.member AND f.deleted IS NOT TRUE
    GROUP BY m.profile_id
"""
# who is desired and should not be, or the reverse; nobody while members of one of the segments are not loaded
_OUT_OF_STEP: Final = """
WITH wanted AS ({wanted}),
present AS (
    SELECT d.profile_id, d.desired, NOT d.desired AND d.sent IS NOT NULL AND d.priority > 0 AS leaving
    FROM {ledger}
),
changed AS (
    SELECT coalesce(w.profile_id, p.profile_id) AS profile_id, w.profile_id IS NOT NULL AS desired, w.received_at
    FROM wanted w FULL JOIN present p ON p.profile_id = w.profile_id
    WHERE (coalesce(p.desired, false) <> (w.profile_id IS NOT NULL) OR p.leaving AND EXISTS (
        SELECT FROM activation.profile_floors f
        WHERE f.workspace_id = %(workspace)s AND f.profile_id = p.profile_id AND f.deleted)) AND NOT EXISTS (
        SELECT FROM activation.connections c JOIN activation.audiences_loading l USING (workspace_id, audience_id)
        WHERE {c_row} AND c.active)
)
"""
_RECONCILE: Final = """
{out_of_step}, explained AS (
    SELECT ch.*, CASE WHEN f.deleted AND f.merged THEN 'merged' WHEN f.deleted THEN 'erased'
                      WHEN NOT c.active THEN 'requested' ELSE 'membership' END AS cause
    FROM changed ch
    JOIN activation.connections c ON {c_row}
    LEFT JOIN activation.profile_floors f ON f.workspace_id = %(workspace)s AND f.profile_id = ch.profile_id
)
INSERT INTO activation.deliveries AS d
    (workspace_id, audience_id, destination_id, profile_id, desired, cause, priority, received_at)
SELECT %(workspace)s, %(audience)s, %(destination)s, profile_id, desired, cause, %(priority)s, received_at
FROM explained
ON CONFLICT (workspace_id, destination_id, audience_id, profile_id) DO UPDATE SET
    desired = excluded.desired, received_at = excluded.received_at,
    cause = CASE WHEN excluded.cause = 'membership' AND {hurried} THEN d.cause ELSE excluded.cause END,
    sequence = d.sequence + 1, pending = true, attempts = 0, failing_since = NULL, changed_at = now(),
    next_attempt_at = now(), error_class = NULL, last_error = NULL,
    priority = CASE WHEN excluded.desired THEN {no_later}
                    WHEN excluded.cause IN ('erased', 'merged') OR {hurried} THEN 0 ELSE 1 END
"""
# who was about to be removed for privacy's sake, and leaves now, goes no later for that
_HURRIED: Final = "(NOT excluded.desired AND d.pending AND d.priority = 0)"
_C_ROW: Final = _D_ROW.replace("d.", "c.")
_ALL_MEMBERS: Final = (
    "JOIN activation.memberships m ON m.workspace_id = c.workspace_id AND m.segment_id = ANY(a.segment_ids)"
)
# row by row through the primary keys, as above
_ONLY: Final = "(SELECT DISTINCT profile_id FROM unnest(%(only)s::uuid[]) AS o(profile_id)) AS u"
_SOME_MEMBERS: Final = f"""CROSS JOIN {_ONLY} CROSS JOIN LATERAL (
        SELECT x.profile_id, x.member, x.received_at FROM activation.memberships x
        WHERE x.workspace_id = %(workspace)s AND x.segment_id = ANY(a.segment_ids) AND x.profile_id = u.profile_id
        OFFSET 0) AS m"""  # noqa: S608
_SOME_ROWS: Final = f"""{_ONLY} CROSS JOIN LATERAL (
        SELECT x.profile_id, x.desired, x.sent, x.priority FROM activation.deliveries x
        WHERE {_D_ROW.replace("d.", "x.")} AND x.profile_id = u.profile_id OFFSET 0) AS d"""  # noqa: S608
_SOME: Final = _OUT_OF_STEP.format(wanted=_WANTED.format(members=_SOME_MEMBERS), ledger=_SOME_ROWS, c_row=_C_ROW)
_ALL: Final = _OUT_OF_STEP.format(
    wanted=_WANTED.format(members=_ALL_MEMBERS), ledger=f"activation.deliveries d WHERE {_D_ROW}", c_row=_C_ROW
)
RECONCILE: Final = _RECONCILE.format(
    out_of_step=_SOME, c_row=_C_ROW, hurried=_HURRIED, no_later=_NO_LATER.format(otherwise="excluded.priority")
)
# in the order in which the column store keeps profiles: what is claimed together lies together there
OUT_OF_STEP: Final = f"""
{_ALL}
SELECT profile_id FROM changed ORDER BY get_byte(uuid_send(profile_id), 8), profile_id
"""  # noqa: S608
