"""The intents of one flush know one another: their rows are in the same blocks."""

from alembic import op

revision = "identity_0003"
down_revision = "identity_0002"
branch_labels = None
depends_on = None

STATEMENTS = """
-- every range of the flush, as [topic, partition, first, last, records, from_received, generation]; one that was open
-- before there was this column was alone
ALTER TABLE identity.recorder_intents ADD COLUMN flush jsonb;
"""


def upgrade() -> None:
    op.execute(STATEMENTS)


def downgrade() -> None:
    op.execute("ALTER TABLE identity.recorder_intents DROP COLUMN flush")
