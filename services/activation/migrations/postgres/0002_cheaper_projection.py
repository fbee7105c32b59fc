"""Memberships cost less to write: no time that nobody reads, one index, and room for updates in place."""

from alembic import op

revision = "activation_0002"
down_revision = "activation_0001"
branch_labels = None
depends_on = None

_UP = """
DROP INDEX activation.memberships_profile;
ALTER TABLE activation.memberships DROP COLUMN changed_at;
ALTER TABLE activation.memberships SET (fillfactor = 70);
"""
_DOWN = """
ALTER TABLE activation.memberships SET (fillfactor = 85);
ALTER TABLE activation.memberships ADD COLUMN changed_at timestamptz NOT NULL DEFAULT now();
CREATE INDEX memberships_profile ON activation.memberships (workspace_id, profile_id);
"""


def upgrade() -> None:
    op.execute(_UP)


def downgrade() -> None:
    op.execute(_DOWN)
