"""A table's name -> the SQL by which the front door sees and writes only the rows of the workspace it speaks for."""

from collections.abc import Mapping
from typing import Final

FRONT_DOOR_ROLE: Final = "cdp_front_door"
WORKSPACE_SETTING: Final = "cdp.workspace_id"
# a setting that was ever set locally is '' afterwards, not null, and '' is the workspace of events without one
OWN_ROWS: Final = f"workspace_id = nullif(current_setting('{WORKSPACE_SETTING}', true), '')"

# roles belong to the whole server: another database may have made it, or be making it now
ENSURE_ROLE: Final = f"""
DO $$
BEGIN
    IF NOT EXISTS (SELECT FROM pg_roles WHERE rolname = '{FRONT_DOOR_ROLE}') THEN
        BEGIN
            CREATE ROLE {FRONT_DOOR_ROLE} NOLOGIN;
        EXCEPTION WHEN duplicate_object OR unique_violation THEN
            NULL;
        END;
    END IF;
    BEGIN
        SET LOCAL ROLE {FRONT_DOOR_ROLE};
        RESET ROLE;
    EXCEPTION WHEN insufficient_privilege THEN
        GRANT {FRONT_DOOR_ROLE} TO CURRENT_USER;
    END;
EXCEPTION WHEN insufficient_privilege THEN
    RAISE insufficient_privilege USING
        MESSAGE = current_user || ' may neither make the role {FRONT_DOOR_ROLE} nor act as it',
        HINT = 'As an administrator: CREATE ROLE {FRONT_DOOR_ROLE} NOLOGIN; GRANT {FRONT_DOOR_ROLE} TO '
            || quote_ident(current_user) || ';';
END $$
"""


def protect(tables: Mapping[str, str]) -> str:
    """For a migration: each table with a workspace_id, and what the front door may do there ('' for nothing)."""
    return "\n".join(_protect(table) + _grant(table, privileges) for table, privileges in tables.items())


def unprotect(tables: Mapping[str, str]) -> str:
    """Undoes ``protect``."""
    return "\n".join(
        f"REVOKE ALL ON {table} FROM {FRONT_DOOR_ROLE};\n"
        f"DROP POLICY workspace ON {table};\n"
        f"ALTER TABLE {table} DISABLE ROW LEVEL SECURITY;"
        for table in tables
    )


def own_rows_view(view: str, table: str, columns: str, privileges: str) -> str:
    """The same rows as a view of the table's owner, for searches by an index whose operator is not leakproof.

    A policy goes before every such operator, which puts a GIN index out of use; the condition of a view does not.
    """
    selected = f"SELECT {columns} FROM {table} WHERE {OWN_ROWS}"  # noqa: S608 -- names from a migration
    return f"CREATE VIEW {view} AS {selected} WITH CHECK OPTION;\n{_grant(view, privileges)}"


def _protect(table: str) -> str:
    return (
        f"ALTER TABLE {table} ENABLE ROW LEVEL SECURITY;\n"
        f"CREATE POLICY workspace ON {table} USING ({OWN_ROWS}) WITH CHECK ({OWN_ROWS});\n"
    )


def _grant(relation: str, privileges: str) -> str:
    return f"GRANT {privileges} ON {relation} TO {FRONT_DOOR_ROLE};\n" if privileges else ""
