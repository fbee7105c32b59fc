"""How many members a large audience has: counted ahead of whoever looks at the list."""

from alembic import op

revision = "activation_0009"
down_revision = "activation_0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE activation.audiences ADD COLUMN members_counted bigint")


def downgrade() -> None:
    op.execute("ALTER TABLE activation.audiences DROP COLUMN members_counted")
