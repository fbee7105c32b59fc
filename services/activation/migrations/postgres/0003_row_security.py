"""The front door sees the rows of one workspace."""

from typing import Final

from alembic import op

from cdp_runtime.row_security import FRONT_DOOR_ROLE, own_rows_view, protect, unprotect

revision = "activation_0003"
down_revision = "activation_0002"
branch_labels = None
depends_on = None

_TABLES: Final = {
    "activation.destinations": "SELECT, INSERT, UPDATE",
    "activation.audiences": "SELECT, INSERT, UPDATE",
    "activation.connections": "SELECT, INSERT, UPDATE",
    "activation.memberships": "SELECT",
    "activation.profile_floors": "SELECT",
    "activation.suppressions": "SELECT, INSERT, DELETE",
    "activation.deliveries": "SELECT, UPDATE",
}
_HELD_BACK: Final = "workspace_id, destination_id, keys, desired, pending, sequence, priority, cause, next_attempt_at"
_VIEW: Final = own_rows_view("activation.workspace_deliveries", "activation.deliveries", _HELD_BACK, "SELECT, UPDATE")


def upgrade() -> None:
    op.execute(f"GRANT USAGE ON SCHEMA activation TO {FRONT_DOOR_ROLE}")
    op.execute(protect(_TABLES))
    op.execute(_VIEW)


def downgrade() -> None:
    op.execute("DROP VIEW activation.workspace_deliveries")
    op.execute(unprotect(_TABLES))
    op.execute(f"REVOKE USAGE ON SCHEMA activation FROM {FRONT_DOOR_ROLE}")
