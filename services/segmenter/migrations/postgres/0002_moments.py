"""When time alone may next change the memberships of a profile, as far as that is near."""

from alembic import op

revision = "segmenter_0002"
down_revision = "segmenter_0001"
branch_labels = None
depends_on = None

_MOMENTS = """
CREATE TABLE segmenter.moments (
    workspace_id text NOT NULL,
    profile_id uuid NOT NULL,
    at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, profile_id)
);
CREATE INDEX moments_at ON segmenter.moments (at);
"""


def upgrade() -> None:
    op.execute(_MOMENTS)


def downgrade() -> None:
    op.execute("DROP TABLE segmenter.moments")
