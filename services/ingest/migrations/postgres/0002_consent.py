"""The consent categories that a source's events must have granted to be kept; none by default."""

from alembic import op

revision = "ingest_0002"
down_revision = "ingest_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute("ALTER TABLE ingest.sources ADD COLUMN required_consent text[] NOT NULL DEFAULT '{}'")


def downgrade() -> None:
    op.execute("ALTER TABLE ingest.sources DROP COLUMN required_consent")
