"""Segments, their memberships with sequence numbers, the outbox of changes, and how far the clock was swept."""

from alembic import op

revision = "segmenter_0001"
down_revision = None
branch_labels = ("segmenter",)
depends_on = None

_SEGMENTS = """
CREATE TABLE segmenter.segments (
    workspace_id text NOT NULL,
    segment_id text NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    type text NOT NULL,
    rules jsonb,
    version integer NOT NULL DEFAULT 1,
    status text NOT NULL DEFAULT 'building' CHECK (status IN ('building', 'ready')),
    progress real NOT NULL DEFAULT 0,
    build integer NOT NULL DEFAULT 1,
    size bigint NOT NULL DEFAULT 0,
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    evaluated_at timestamptz,
    deleted_at timestamptz,
    PRIMARY KEY (workspace_id, segment_id)
);
CREATE UNIQUE INDEX segments_name ON segmenter.segments (workspace_id, lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX segments_building ON segmenter.segments (workspace_id) WHERE status = 'building';
"""

# a row stays when its profile leaves: the sequence must go on where it was; bucket is byte 8 of the profile id
_MEMBERSHIPS = """
CREATE TABLE segmenter.memberships (
    workspace_id text NOT NULL,
    segment_id text NOT NULL,
    profile_id uuid NOT NULL,
    bucket smallint NOT NULL,
    sequence integer NOT NULL,
    member boolean NOT NULL GENERATED ALWAYS AS (sequence % 2 = 1) STORED,
    segment_version integer NOT NULL,
    changed_at timestamptz NOT NULL,
    PRIMARY KEY (workspace_id, segment_id, profile_id)
) WITH (fillfactor = 80);
CREATE INDEX memberships_profile ON segmenter.memberships (workspace_id, profile_id);
CREATE INDEX memberships_bucket ON segmenter.memberships (workspace_id, segment_id, bucket);
"""

_OUTBOX = """
CREATE TABLE segmenter.outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key bytea NOT NULL,
    message bytea NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now()
);
CREATE TABLE segmenter.requests (
    workspace_id text NOT NULL,
    profile_id uuid NOT NULL,
    asked_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, profile_id)
);
CREATE TABLE segmenter.sweeps (
    workspace_id text PRIMARY KEY,
    swept_through timestamptz NOT NULL,
    reconciled_at timestamptz NOT NULL
);
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS segmenter")
    for statements in (_SEGMENTS, _MEMBERSHIPS, _OUTBOX):
        op.execute(statements)


def downgrade() -> None:
    op.execute("DROP SCHEMA segmenter CASCADE")
