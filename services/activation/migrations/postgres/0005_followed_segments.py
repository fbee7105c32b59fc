"""Only segments that an audience uses are followed; an audience waits for those whose members are not loaded yet."""

from typing import Final

from alembic import op

from cdp_runtime.row_security import protect

revision = "activation_0005"
down_revision = "activation_0004"
branch_labels = None
depends_on = None

# follow_id is a new one each time that a segment is followed again, so that what was loaded for an earlier time is
# not taken for this one
_FOLLOWED: Final = """
CREATE TABLE activation.followed_segments (
    workspace_id text NOT NULL,
    segment_id text NOT NULL,
    follow_id bigint GENERATED ALWAYS AS IDENTITY,
    loaded boolean NOT NULL DEFAULT false,
    PRIMARY KEY (workspace_id, segment_id)
);
"""
_LOADING: Final = """
CREATE VIEW activation.audiences_loading AS
SELECT a.workspace_id, a.audience_id FROM activation.audiences a
WHERE a.deleted_at IS NULL AND EXISTS (
    SELECT FROM unnest(a.segment_ids) AS s(segment_id) WHERE NOT EXISTS (
        SELECT FROM activation.followed_segments f
        WHERE f.workspace_id = a.workspace_id AND f.segment_id = s.segment_id AND f.loaded))
"""


def upgrade() -> None:
    op.execute(_FOLLOWED + protect({"activation.followed_segments": ""}))
    op.execute(_LOADING)


def downgrade() -> None:
    op.execute("DROP VIEW activation.audiences_loading")
    op.execute("DROP TABLE activation.followed_segments")
