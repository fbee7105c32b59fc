"""Where the recorder is, what it is about to insert, and which nodes were erased."""

from alembic import op

revision = "identity_0002"
down_revision = "identity_0001"
branch_labels = None
depends_on = None

STATEMENTS = """
-- epoch rises with every new owner of a partition and fences the earlier ones
CREATE TABLE identity.recorder_partitions (
    next_offset bigint NOT NULL DEFAULT 0,
    next_received_offset bigint NOT NULL DEFAULT 0,
    epoch bigint NOT NULL,
    claimed_at timestamptz NOT NULL DEFAULT now(),
    recorded_at timestamptz,
    partition integer NOT NULL,
    generation integer NOT NULL DEFAULT 1,
    topic text NOT NULL,
    PRIMARY KEY (topic, partition)
) WITH (fillfactor = 20);

-- at most one open range per partition: it is being inserted, or was when its worker died
CREATE TABLE identity.recorder_intents (
    first_offset bigint NOT NULL,
    last_offset bigint NOT NULL,
    records bigint NOT NULL,
    from_received bigint NOT NULL,
    opened_at timestamptz NOT NULL DEFAULT now(),
    partition integer NOT NULL,
    generation integer NOT NULL,
    topic text NOT NULL,
    PRIMARY KEY (topic, partition),
    CHECK (first_offset <= last_offset)
) WITH (fillfactor = 20);

-- saved before rows are removed, read after rows were inserted, so that no row of an erased node stays
CREATE TABLE identity.recorder_erasures (
    sequence bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    until timestamptz NOT NULL,
    node_id uuid NOT NULL,
    workspace_id text NOT NULL
);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)


def downgrade() -> None:
    op.execute("DROP TABLE identity.recorder_erasures, identity.recorder_intents, identity.recorder_partitions")
