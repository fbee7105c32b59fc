"""The workspaces by name; those that have a token already are workspaces too."""

from alembic import op

revision = "front_0002"
down_revision = "front_0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.execute(
        """
        CREATE TABLE front.workspaces (
            workspace_id text PRIMARY KEY,
            name text NOT NULL,
            created_at timestamptz NOT NULL DEFAULT now()
        )
        """
    )
    op.execute(
        """
        INSERT INTO front.workspaces (workspace_id, name, created_at)
        SELECT workspace_id, workspace_id, min(created_at) FROM front.tokens GROUP BY workspace_id
        """
    )


def downgrade() -> None:
    op.execute("DROP TABLE front.workspaces")
