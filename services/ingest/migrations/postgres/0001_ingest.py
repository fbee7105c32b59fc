"""The schema ingest: sources with their write keys, and the counts of accepted events."""

from alembic import op

revision = "ingest_0001"
down_revision = None
branch_labels = ("ingest",)
depends_on = None


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS ingest")
    op.execute(
        """
        CREATE TABLE ingest.sources (
            workspace_id text NOT NULL,
            source_id text NOT NULL,
            name text NOT NULL,
            write_key_hash text NOT NULL UNIQUE,
            write_key_last4 text NOT NULL,
            enabled boolean NOT NULL DEFAULT true,
            settings jsonb NOT NULL DEFAULT '{}',
            created_at timestamptz NOT NULL DEFAULT now(),
            PRIMARY KEY (workspace_id, source_id)
        )
        """
    )
    op.execute(
        """
        CREATE TABLE ingest.accepted (
            workspace_id text NOT NULL,
            source_id text NOT NULL,
            minute timestamptz NOT NULL,
            run_id text NOT NULL,
            count bigint NOT NULL,
            PRIMARY KEY (workspace_id, minute, source_id, run_id)
        ) WITH (fillfactor = 70)
        """
    )


def downgrade() -> None:
    op.execute("DROP SCHEMA ingest CASCADE")
