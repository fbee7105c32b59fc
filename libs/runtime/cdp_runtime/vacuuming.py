"""A table's name -> the SQL by which Postgres uses its space again in time, and learns anew about it no oftener than it
has to."""

from collections.abc import Iterable, Mapping
from typing import Final

# tables that are filled and emptied all the time, or of few rows that are always replaced: of their rows and of the
# pieces of their long values few may be dead. Those are found cheaply, so there is no need to pause on the way
TURNS_OVER: Final[Mapping[str, str]] = {
    "autovacuum_vacuum_scale_factor": "0",
    "autovacuum_vacuum_threshold": "100",
    "autovacuum_vacuum_cost_delay": "0",
    "toast.autovacuum_vacuum_scale_factor": "0",
    "toast.autovacuum_vacuum_threshold": "1000",
    "toast.autovacuum_vacuum_cost_delay": "0",
}
# large tables whose rows are replaced or removed as events come: a twentieth may be dead, and not a fifth. Each vacuum
# reads their indexes whole
IS_CHANGED: Final[Mapping[str, str]] = {"autovacuum_vacuum_scale_factor": "0.05"}

# large tables that grow or change all the time: what Postgres knows of their values, and which pages it need not look
# into, is made anew when as much has changed as there is, and not a tenth or a fifth. Making it reads 30,000 rows and
# puts each column in order, arrays and documents too: while a table grew from nothing that took a third of Postgres
KNOWN_LONGER: Final[Mapping[str, str]] = {
    "autovacuum_analyze_scale_factor": "1",
    "autovacuum_vacuum_insert_scale_factor": "1",
}


def vacuum(tables: Iterable[str], when: Mapping[str, str]) -> str:
    """For a migration: the tables, and one of the kinds above."""
    return "\n".join(f"ALTER TABLE {table} SET ({settings(when)});" for table in tables)


def unvacuum(tables: Iterable[str], when: Mapping[str, str]) -> str:
    """Undoes ``vacuum``."""
    return "\n".join(f"ALTER TABLE {table} RESET ({', '.join(when)});" for table in tables)


def settings(when: Mapping[str, str]) -> str:
    """The same for ``CREATE TABLE ... WITH``."""
    return ", ".join(f"{name} = {value}" for name, value in when.items())
