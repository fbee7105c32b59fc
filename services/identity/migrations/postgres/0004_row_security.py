"""The front door sees the rows of one workspace; what else it may do here is to ask whether a message is settled."""

from typing import Final

from alembic import op

from cdp_runtime.row_security import FRONT_DOOR_ROLE, own_rows_view, protect, unprotect

revision = "identity_0004"
down_revision = "identity_0003"
branch_labels = None
depends_on = None

_TABLES: Final = {
    "identity.nodes": "SELECT",
    "identity.links": "SELECT",
    "identity.profiles": "SELECT",
    "identity.orders": "",
    "identity.consents": "SELECT",
    "identity.recorder_erasures": "",
}
_SEARCHED: Final = "workspace_id, profile_id, version, ltv_minor, order_count, traits, consent"
_VIEWS: Final = own_rows_view("identity.workspace_profiles", "identity.profiles", _SEARCHED, "SELECT") + own_rows_view(
    "identity.workspace_nodes", "identity.nodes", "workspace_id, profile_id, kind, value", "SELECT"
)


def upgrade() -> None:
    op.execute(f"GRANT USAGE ON SCHEMA identity TO {FRONT_DOOR_ROLE}")
    op.execute(protect(_TABLES))
    op.execute(_VIEWS)
    # its key is a hash of workspace and messageId
    op.execute(f"GRANT SELECT (id, day) ON identity.messages TO {FRONT_DOOR_ROLE}")


def downgrade() -> None:
    op.execute(f"REVOKE ALL ON identity.messages FROM {FRONT_DOOR_ROLE}")
    op.execute("DROP VIEW identity.workspace_profiles, identity.workspace_nodes")
    op.execute(unprotect(_TABLES))
    op.execute(f"REVOKE USAGE ON SCHEMA identity FROM {FRONT_DOOR_ROLE}")
