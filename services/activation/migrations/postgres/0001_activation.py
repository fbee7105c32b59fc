"""The ledger of deliveries and what it is made from: destinations, audiences, memberships, suppressions, outbox."""

from alembic import op

revision = "activation_0001"
down_revision = None
branch_labels = ("activation",)
depends_on = None

_CATALOG = """
CREATE TABLE activation.destinations (
    workspace_id text NOT NULL,
    destination_id text NOT NULL,
    name text NOT NULL,
    type text NOT NULL,
    settings jsonb NOT NULL,
    credentials bytea NOT NULL,
    enabled boolean NOT NULL DEFAULT true,
    paused_class text,
    paused_reason text,
    throttled_until timestamptz,
    breaker jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (workspace_id, destination_id)
);
CREATE UNIQUE INDEX destinations_name ON activation.destinations (workspace_id, lower(name)) WHERE deleted_at IS NULL;

CREATE TABLE activation.audiences (
    workspace_id text NOT NULL,
    audience_id text NOT NULL,
    name text NOT NULL,
    description text NOT NULL DEFAULT '',
    segment_ids text[] NOT NULL,
    platforms text[] NOT NULL DEFAULT '{}',
    config jsonb NOT NULL DEFAULT '{}',
    created_at timestamptz NOT NULL DEFAULT now(),
    updated_at timestamptz NOT NULL DEFAULT now(),
    deleted_at timestamptz,
    PRIMARY KEY (workspace_id, audience_id)
);
CREATE UNIQUE INDEX audiences_name ON activation.audiences (workspace_id, lower(name)) WHERE deleted_at IS NULL;
CREATE INDEX audiences_segments ON activation.audiences USING gin (segment_ids);

-- one audience at one destination; it stays until its last member there was removed, even when the audience is deleted
CREATE TABLE activation.connections (
    workspace_id text NOT NULL,
    audience_id text NOT NULL,
    destination_id text NOT NULL,
    platform text,
    settings jsonb NOT NULL DEFAULT '{}',
    active boolean NOT NULL DEFAULT false,
    reconcile boolean NOT NULL DEFAULT false,
    paused_class text,
    paused_reason text,
    guard_waived_until timestamptz,
    replace_session bigint,
    replace_requested_at timestamptz,
    replaced_at timestamptz,
    replace_error text,
    activated_at timestamptz,
    PRIMARY KEY (workspace_id, audience_id, destination_id),
    FOREIGN KEY (workspace_id, audience_id) REFERENCES activation.audiences,
    FOREIGN KEY (workspace_id, destination_id) REFERENCES activation.destinations
);
CREATE INDEX connections_destination ON activation.connections (workspace_id, destination_id);
"""

_PROJECTIONS = """
CREATE TABLE activation.memberships (
    workspace_id text NOT NULL,
    segment_id text NOT NULL,
    profile_id uuid NOT NULL,
    sequence bigint NOT NULL,
    member boolean NOT NULL,
    changed_at timestamptz NOT NULL,
    received_at timestamptz,
    PRIMARY KEY (workspace_id, segment_id, profile_id)
) WITH (fillfactor = 85);
CREATE INDEX memberships_profile ON activation.memberships (workspace_id, profile_id);

-- the oldest version of a profile that may still be sent: kept for those erased, merged, or with a consent refused
CREATE TABLE activation.profile_floors (
    workspace_id text NOT NULL,
    profile_id uuid NOT NULL,
    version bigint NOT NULL,
    deleted boolean NOT NULL,
    merged boolean NOT NULL DEFAULT false,
    PRIMARY KEY (workspace_id, profile_id)
);

CREATE TABLE activation.suppressions (
    workspace_id text NOT NULL,
    suppression_id text NOT NULL,
    destination_id text NOT NULL DEFAULT '',
    kind text NOT NULL,
    value_key bigint NOT NULL,
    hint text NOT NULL,
    reason text NOT NULL DEFAULT '',
    created_at timestamptz NOT NULL DEFAULT now(),
    PRIMARY KEY (workspace_id, suppression_id)
);
CREATE UNIQUE INDEX suppressions_key ON activation.suppressions (workspace_id, value_key, destination_id);
"""

_LEDGER = """
CREATE TABLE activation.deliveries (
    workspace_id text NOT NULL,
    destination_id text NOT NULL,
    audience_id text NOT NULL,
    profile_id uuid NOT NULL,
    sequence bigint NOT NULL DEFAULT 1,
    desired boolean NOT NULL,
    acknowledged boolean NOT NULL DEFAULT false,
    pending boolean NOT NULL DEFAULT true,
    priority smallint NOT NULL DEFAULT 2,
    next_attempt_at timestamptz NOT NULL DEFAULT now(),
    attempts integer NOT NULL DEFAULT 0,
    failing_since timestamptz,
    cause text NOT NULL DEFAULT 'membership',
    outcome text,
    error_class text,
    last_error text,
    claim uuid,
    claimed_sequence bigint,
    sent bytea,
    keys bigint[],
    fingerprint bytea,
    min_version bigint NOT NULL DEFAULT 0,
    received_at timestamptz,
    changed_at timestamptz NOT NULL DEFAULT now(),
    acknowledged_at timestamptz,
    removed_at timestamptz,
    PRIMARY KEY (workspace_id, destination_id, audience_id, profile_id)
) WITH (fillfactor = 80);
CREATE INDEX deliveries_due ON activation.deliveries
    (workspace_id, destination_id, audience_id, priority, next_attempt_at) WHERE pending;
CREATE INDEX deliveries_profile ON activation.deliveries (workspace_id, profile_id);
CREATE INDEX deliveries_keys ON activation.deliveries USING gin (keys) WHERE keys IS NOT NULL;

CREATE TABLE activation.outbox (
    outbox_id bigint GENERATED ALWAYS AS IDENTITY PRIMARY KEY,
    key bytea NOT NULL,
    message bytea NOT NULL
);
"""


def upgrade() -> None:
    op.execute("CREATE SCHEMA IF NOT EXISTS activation")
    for part in (_CATALOG, _PROJECTIONS, _LEDGER):
        op.execute(part)


def downgrade() -> None:
    op.execute("DROP SCHEMA activation CASCADE")
