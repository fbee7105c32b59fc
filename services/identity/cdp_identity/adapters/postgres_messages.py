"""Upkeep of identity.messages in Postgres: one partition per day of arrival, and one for all other days."""

from datetime import date, datetime, timedelta
from typing import Final

from psycopg import sql

from cdp_identity.maintenance import upkeep
from cdp_runtime.postgres import Pool
from cdp_runtime.vacuuming import KNOWN_LONGER, settings

_LOCK: Final = 7_310_002
_PARTITIONS: Final = """
SELECT c.relname FROM pg_inherits AS i JOIN pg_class AS c ON c.oid = i.inhrelid
WHERE i.inhparent = 'identity.messages'::regclass AND c.relname ~ '^messages_[0-9]{8}$'"""


async def keep_message_partitions(pool: Pool, now: datetime, window: timedelta) -> None:
    """Makes and drops partitions; several workers may do it at once."""
    async with pool.connection() as connection:
        await connection.execute("SELECT pg_advisory_xact_lock(%s)", [_LOCK])
        rows = await (await connection.execute(_PARTITIONS)).fetchall()
        due = upkeep((_day(row[0]) for row in rows), now, window)
        for day in due.make:
            await connection.execute(_make(day))
        for day in due.drop:
            await connection.execute(sql.SQL("DROP TABLE {}").format(sql.Identifier("identity", _name(day))))
        oldest = (now - window).date() - timedelta(days=1)
        await connection.execute("DELETE FROM identity.messages_other WHERE day < %s", [oldest])


def _make(day: date) -> sql.Composed:
    """A day's partition, with what the catch-all has of that day already."""
    return sql.SQL(
        "CREATE TABLE {name} (LIKE identity.messages INCLUDING ALL) WITH ({settings}); "
        "WITH moved AS (DELETE FROM identity.messages_other WHERE day = {day} RETURNING *) "
        "INSERT INTO {name} SELECT * FROM moved; "
        "ALTER TABLE identity.messages ATTACH PARTITION {name} FOR VALUES FROM ({day}) TO ({next})"
    ).format(
        name=sql.Identifier("identity", _name(day)),
        settings=sql.SQL(settings(KNOWN_LONGER)),
        day=sql.Literal(day),
        next=sql.Literal(day + timedelta(days=1)),
    )


def _name(day: date) -> str:
    return f"messages_{day:%Y%m%d}"


def _day(name: str) -> date:
    return datetime.strptime(name.removeprefix("messages_"), "%Y%m%d").date()  # noqa: DTZ007 -- a date has no zone
