"""P25: what is stored of the stack's own traffic -> bytes per event in ClickHouse and per profile in Postgres."""

from collections.abc import Iterable

import psycopg

from bench.report import Row
from bench.target import Target, at_most
from bench.whole import Whole

BATCHES, SINGLES = 400, 400
# of an event: its row, its day in the counters, its minute's outcome
TABLES = ("events", "counters", "event_outcomes")
P25_EVENT = Target(
    "P25 event", "bytes per event in ClickHouse, with counters and outcomes", "B", release=at_most(40, "B"),
    floor=at_most(200, "B"), how="sizes on disk over events, after merging; against the events alone without codecs "
    "of their own. The load's texts of random words are in it",
)  # fmt: skip
P25_PROFILE = Target(
    "P25 profile", "bytes per profile in Postgres, with nodes, links, orders, consents and all indexes", "B",
    release=at_most(1_200, "B"), floor=at_most(4_000, "B"),
    how="sizes of the tables of identity that grow with profiles, over profiles; against their rows alone, without "
    "indexes and free space",
)  # fmt: skip
# message ids are kept for a window, not for a profile; partitions and intents are as many as partitions
_KEPT = ("nodes", "links", "profiles", "orders", "consents")


def stored(whole: Whole) -> Iterable[Row]:
    """Both rows, of what this stack has been sent by now and a load of its own."""
    whole.fill()
    there = whole.stored()
    whole.recorded(there + whole.send(BATCHES, SINGLES).stored)
    yield P25_EVENT.row(*_per_event(whole))
    yield P25_PROFILE.row(*_per_profile(whole.stack.postgres_url))


def _per_event(whole: Whole) -> tuple[float, float]:
    for table in TABLES:
        whole.ask(f"OPTIMIZE TABLE cdp.{table} FINAL")
    columns = whole.ask("SELECT name, type FROM system.columns WHERE database = 'cdp' AND table = 'events'")
    plain = ", ".join(line.replace("\t", " ").replace("\\'", "'") for line in columns.splitlines())
    whole.ask(f"CREATE OR REPLACE TABLE cdp.bench_bare ({plain}) ENGINE = MergeTree "
              "ORDER BY (workspace_id, event, node_id, timestamp)")  # fmt: skip
    whole.ask("INSERT INTO cdp.bench_bare SELECT * FROM cdp.events")
    whole.ask("OPTIMIZE TABLE cdp.bench_bare FINAL")
    sizes = dict.fromkeys((*TABLES, "bench_bare"), 0)
    answer = whole.ask(
        "SELECT table, sum(bytes_on_disk) FROM system.parts WHERE active AND database = 'cdp' GROUP BY table"
    )
    sizes |= {name: int(size) for name, _, size in (line.partition("\t") for line in answer.splitlines())}
    whole.ask("DROP TABLE cdp.bench_bare SYNC")
    events = whole.stored()
    print("  " + ", ".join(f"{table} {sizes[table] / events:.1f} B" for table in TABLES), flush=True)
    return sum(sizes[table] for table in TABLES) / events, sizes["bench_bare"] / events


def _per_profile(url: str) -> tuple[float, float]:
    with psycopg.connect(url, autocommit=True) as connection:
        connection.execute("VACUUM ANALYZE")
        (profiles,) = connection.execute("SELECT count(*) FROM identity.profiles WHERE version > 0").fetchone() or (0,)
        sizes, rows = {}, 0
        for table in _KEPT:
            name = f"identity.{table}"
            asked = f"SELECT pg_total_relation_size('{name}'), coalesce(sum(pg_column_size(t.*)), 0) FROM {name} AS t"
            found = connection.execute(asked.encode()).fetchone()
            assert found is not None
            sizes[table], rows = int(found[0]), rows + int(found[1])
    print("  " + ", ".join(f"{table} {size / profiles:.0f} B" for table, size in sizes.items()), flush=True)
    return sum(sizes.values()) / profiles, rows / profiles
