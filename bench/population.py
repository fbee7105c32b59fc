"""A million profiles -> the tables of a stack, as its own processes would have written them.

A quarter is known by user id and email and has traits, consents, often orders, and segments; the others are devices
that looked around. Links, orders and what was said at each node are left out: reads of profiles do not look at them.
"""

from collections.abc import Iterator
from typing import Final

import psycopg

from bench.crowd import PROFILES
from cdp_schemas.nodes import node_id

KNOWN_EVERY: Final = 4
COUNTRIES: Final = ["US", "DE", "FR", "GB", "IN"]
PLANS: Final = ["free", "pro", "team", "free"]
_TABLES: Final = ("identity.nodes", "identity.profiles", "segmenter.profile_segments")
_INDEXES: Final = """
SELECT indexrelid::regclass::text, pg_get_indexdef(indexrelid) FROM pg_index
WHERE indrelid = ANY(%s::text[]::regclass[]) AND NOT indisunique"""
_NAMES: Final = "CREATE TEMPORARY TABLE names (n int, device uuid, person uuid, email uuid)"
_COPY: Final = "COPY names FROM STDIN"
_NODES: Final = """
INSERT INTO identity.nodes (workspace_id, node_id, profile_id, first_seen, last_seen, kind, value)
SELECT %(workspace)s, node, coalesce(person, device), now() - n %% 400 * interval '1 day',
       now() - n %% 60 * interval '1 day', kind, value
FROM names, LATERAL (VALUES (device, 'anonymous_id', 'crowd-device-' || n), (person, 'user_id', 'crowd-' || n),
                            (email, 'email', 'crowd' || n || '@example.com')) AS said (node, kind, value)
WHERE node IS NOT NULL"""
# numbers that share no factor, so that no two conditions of a search imply one another
_PROFILES: Final = """
INSERT INTO identity.profiles (workspace_id, profile_id, version, created_at, updated_at, first_seen, last_seen,
    consent_at, first_order_at, last_order_at, ltv_minor, order_count, currency, traits, consent, by_currency)
SELECT %(workspace)s, coalesce(person, device), nextval('identity.profile_versions'), since, until, since, until,
       CASE WHEN known THEN since END, CASE WHEN buys THEN since END, CASE WHEN buys THEN until END,
       spent, CASE WHEN buys THEN 1 + n %% 9 ELSE 0 END, 'USD',
       CASE WHEN known THEN place || jsonb_build_object('email', 'crowd' || n || '@example.com', 'firstName', 'Ada',
           'age', 18 + n %% 59, 'plan', (%(plans)s::text[])[1 + n / 4 %% 4],
           'tags', CASE WHEN n %% 47 = 0 THEN '["vip"]'::jsonb ELSE '[]' END) ELSE place END,
       CASE WHEN known THEN jsonb_build_object('email', n %% 7 < 4, 'sms', n %% 11 < 3) ELSE '{}' END,
       CASE WHEN buys THEN jsonb_build_object('USD', spent) ELSE '{}' END
FROM names,
     LATERAL (SELECT person IS NOT NULL AS known, person IS NOT NULL AND n %% 13 < 6 AS buys,
                     jsonb_build_object('country', (%(countries)s::text[])[1 + n %% 5]) AS place,
                     now() - n %% 400 * interval '1 day' AS since, now() - n %% 60 * interval '1 day' AS until) AS x,
     LATERAL (SELECT CASE WHEN buys THEN n::bigint * 7919 %% 199999 ELSE 0 END AS spent) AS y"""
_MEMBERSHIPS: Final = """
INSERT INTO segmenter.profile_segments
    (workspace_id, profile_id, bucket, revision, segments, sequences, changed_ms)
SELECT %(workspace)s, person, get_byte(uuid_send(person), 8), 1, array_agg(s.number), array_agg(1),
       array_agg((extract(epoch FROM now()) * 1000)::bigint)
FROM (SELECT number, row_number() OVER (ORDER BY segment_id) AS place FROM segmenter.segments
      WHERE workspace_id = %(workspace)s AND deleted_at IS NULL) AS s
JOIN names ON place %% 50 = n %% 50 WHERE person IS NOT NULL GROUP BY person"""


def populate(postgres_url: str, workspace: str) -> None:
    """Rows into Postgres, for a workspace that has none of these people yet."""
    with psycopg.connect(postgres_url) as connection:
        connection.execute(_NAMES)
        with connection.cursor() as cursor, cursor.copy(_COPY) as copy:
            for line in _lines(workspace):
                copy.write(line)
        # over rows that are there an index costs a fraction of one that is kept while they come
        indexes = connection.execute(_INDEXES, [list(_TABLES)]).fetchall()
        for name, _ in indexes:
            connection.execute(f"DROP INDEX {name}".encode())
        for statement in (_NODES, _PROFILES, _MEMBERSHIPS):
            connection.execute(statement, {"workspace": workspace, "countries": COUNTRIES, "plans": PLANS})
        connection.execute("SET LOCAL maintenance_work_mem = '512MB'")
        for _, definition in indexes:
            connection.execute(definition.encode())
    with psycopg.connect(postgres_url, autocommit=True) as connection:
        for table in _TABLES:
            connection.execute(f"VACUUM ANALYZE {table}".encode())
        connection.execute("CHECKPOINT")  # else it is written while something else is measured


def _lines(workspace: str) -> Iterator[str]:
    for n in range(PROFILES):
        device = node_id(workspace, "anonymous_id", f"crowd-device-{n}")
        if n % KNOWN_EVERY:
            yield f"{n}\t{device}\t\\N\t\\N\n"
        else:
            user = node_id(workspace, "user_id", f"crowd-{n}")
            email = node_id(workspace, "email", f"crowd{n}@example.com")
            yield f"{n}\t{device}\t{user}\t{email}\n"
