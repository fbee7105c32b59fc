"""A request sees the rows of one workspace; tokens and the audit are kept by who owns the tables alone."""

from typing import Final

from alembic import op

from cdp_runtime.row_security import FRONT_DOOR_ROLE, protect, unprotect

revision = "front_0003"
down_revision = "front_0002"
branch_labels = None
depends_on = None

_TABLES: Final = {
    "front.tokens": "",
    "front.audit": "",
    "front.idempotency": "SELECT, INSERT, UPDATE, DELETE",
    "front.quarantine": "SELECT",
    "front.workspaces": "",
}


def upgrade() -> None:
    op.execute(f"GRANT USAGE ON SCHEMA front TO {FRONT_DOOR_ROLE}")
    op.execute(protect(_TABLES))


def downgrade() -> None:
    op.execute(unprotect(_TABLES))
    op.execute(f"REVOKE USAGE ON SCHEMA front FROM {FRONT_DOOR_ROLE}")
