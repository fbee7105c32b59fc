"""The front door reads the counts of one workspace; sources are looked up by who owns the tables alone."""

from typing import Final

from alembic import op

from cdp_runtime.row_security import FRONT_DOOR_ROLE, protect, unprotect

revision = "ingest_0003"
down_revision = "ingest_0002"
branch_labels = None
depends_on = None

_TABLES: Final = {"ingest.sources": "", "ingest.accepted": "SELECT"}


def upgrade() -> None:
    op.execute(f"GRANT USAGE ON SCHEMA ingest TO {FRONT_DOOR_ROLE}")
    op.execute(protect(_TABLES))


def downgrade() -> None:
    op.execute(unprotect(_TABLES))
    op.execute(f"REVOKE USAGE ON SCHEMA ingest FROM {FRONT_DOOR_ROLE}")
