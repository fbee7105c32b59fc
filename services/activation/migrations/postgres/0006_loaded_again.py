"""When the members of a followed segment were loaded, so that they are loaded again in time."""

from alembic import op

revision = "activation_0006"
down_revision = "activation_0005"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE activation.followed_segments ADD COLUMN loaded_at timestamptz")


def downgrade() -> None:
    op.execute("ALTER TABLE activation.followed_segments DROP COLUMN loaded_at")
