"""Memberships are keyed by profile first: a profile's rows lie together, and one index less is written.

Takes a lock for as long as one index takes to build: about half a minute for twenty million memberships.
"""

from alembic import op

revision = "segmenter_0006"
down_revision = "segmenter_0005"
branch_labels = None
depends_on = None

_BY_PROFILE = """
CREATE UNIQUE INDEX memberships_key ON segmenter.memberships (workspace_id, profile_id, segment_id);
ALTER TABLE segmenter.memberships
    DROP CONSTRAINT memberships_pkey, ADD CONSTRAINT memberships_pkey PRIMARY KEY USING INDEX memberships_key;
DROP INDEX segmenter.memberships_profile;
"""
_BY_SEGMENT = """
CREATE UNIQUE INDEX memberships_key ON segmenter.memberships (workspace_id, segment_id, profile_id);
ALTER TABLE segmenter.memberships
    DROP CONSTRAINT memberships_pkey, ADD CONSTRAINT memberships_pkey PRIMARY KEY USING INDEX memberships_key;
CREATE INDEX memberships_profile ON segmenter.memberships (workspace_id, profile_id);
"""


def upgrade() -> None:
    op.execute(_BY_PROFILE)


def downgrade() -> None:
    op.execute(_BY_SEGMENT)
