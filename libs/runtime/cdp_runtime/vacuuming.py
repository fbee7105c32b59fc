"""A table's name -> the SQL by which Postgres uses its space again early enough that it stays as large as it is."""

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


def vacuum(tables: Iterable[str], when: Mapping[str, str]) -> str:
    """For a migration: the tables, and one of the two kinds above."""
    values = ", ".join(f"{name} = {value}" for name, value in when.items())
    return "\n".join(f"ALTER TABLE {table} SET ({values});" for table in tables)


def unvacuum(tables: Iterable[str], when: Mapping[str, str]) -> str:
    """Undoes ``vacuum``."""
    return "\n".join(f"ALTER TABLE {table} RESET ({', '.join(when)});" for table in tables)
