"""Nodes, links, profiles, orders, consent history, messages seen, and where the resolver is."""

from alembic import op

revision = "identity_0001"
down_revision = None
branch_labels = ("identity",)
depends_on = None

STATEMENTS = """
CREATE SCHEMA IF NOT EXISTS identity;

-- versions rise with every change of any profile; taken under the profile's lock, so they rise per profile
CREATE SEQUENCE identity.profile_versions;

-- an identifier is a node; state is what was said at it (cdp_identity.fold). erased_at stays when all else is wiped
CREATE TABLE identity.nodes (
    node_id uuid NOT NULL,
    profile_id uuid NOT NULL,
    first_seen timestamptz NOT NULL,
    last_seen timestamptz,
    erased_at timestamptz,
    workspace_id text NOT NULL,
    kind text NOT NULL,
    value text NOT NULL,
    state bytea,
    PRIMARY KEY (workspace_id, node_id)
) WITH (fillfactor = 80);
-- a node that is its own profile is found by its key
CREATE INDEX nodes_of_profile ON identity.nodes (workspace_id, profile_id) WHERE profile_id <> node_id;

-- a search inside email addresses without an extension: the three-letter parts of each address
CREATE FUNCTION identity.parts(value text) RETURNS text[] LANGUAGE sql IMMUTABLE STRICT PARALLEL SAFE AS
$$ SELECT array_agg(DISTINCT substr(value, at, 3)) FROM generate_series(1, length(value) - 2) AS at $$;
CREATE INDEX nodes_email_parts ON identity.nodes USING gin (identity.parts(value)) WHERE kind = 'email';

-- status: h held, r refused by a guard, v revoked by a person
CREATE TABLE identity.links (
    a uuid NOT NULL,
    b uuid NOT NULL,
    first_at timestamptz NOT NULL,
    workspace_id text NOT NULL,
    status "char" NOT NULL,
    message_id text NOT NULL,
    source_id text NOT NULL,
    reason text,
    PRIMARY KEY (workspace_id, a, b),
    CHECK (a < b)
) WITH (fillfactor = 95);
CREATE INDEX links_not_held ON identity.links (workspace_id, b, first_at) WHERE status <> 'h';

-- golden records, as read by the API; identifiers are in nodes
CREATE TABLE identity.profiles (
    profile_id uuid NOT NULL,
    version bigint NOT NULL,
    created_at timestamptz NOT NULL,
    updated_at timestamptz NOT NULL,
    first_seen timestamptz,
    last_seen timestamptz,
    consent_at timestamptz,
    first_order_at timestamptz,
    last_order_at timestamptz,
    ltv_minor bigint NOT NULL DEFAULT 0,
    refunded_minor bigint NOT NULL DEFAULT 0,
    order_count integer NOT NULL DEFAULT 0,
    workspace_id text NOT NULL,
    currency text,
    traits jsonb,
    consent jsonb,
    by_currency jsonb,
    PRIMARY KEY (workspace_id, profile_id)
) WITH (fillfactor = 80);
CREATE INDEX profiles_traits ON identity.profiles USING gin (traits jsonb_path_ops);
CREATE INDEX profiles_ltv ON identity.profiles (workspace_id, ltv_minor) WHERE order_count > 0;
CREATE INDEX profiles_consent ON identity.profiles USING gin (consent jsonb_path_ops);

CREATE TABLE identity.orders (
    node_id uuid,
    placed_at timestamptz,
    net_minor bigint NOT NULL DEFAULT 0,
    refunded_minor bigint NOT NULL DEFAULT 0,
    counted boolean NOT NULL DEFAULT false,
    workspace_id text NOT NULL,
    order_id text NOT NULL,
    currency text,
    facts bytea,
    PRIMARY KEY (workspace_id, order_id)
) WITH (fillfactor = 85);
CREATE INDEX orders_of_node ON identity.orders (workspace_id, node_id) WHERE counted;

CREATE TABLE identity.consents (
    node_id uuid NOT NULL,
    at timestamptz NOT NULL,
    granted boolean NOT NULL,
    workspace_id text NOT NULL,
    purpose text NOT NULL,
    message_id text NOT NULL,
    source_id text NOT NULL,
    PRIMARY KEY (workspace_id, node_id, purpose, at, message_id)
);

-- which messageIds were taken, by day of arrival; old days are dropped whole. id: 128 bits of workspace and messageId
CREATE TABLE identity.messages (
    id uuid NOT NULL,
    day date NOT NULL,
    received_at timestamptz NOT NULL,
    "offset" bigint NOT NULL,
    partition integer NOT NULL,
    PRIMARY KEY (id, day)
) PARTITION BY RANGE (day);
-- days without a partition of their own
CREATE TABLE identity.messages_other PARTITION OF identity.messages DEFAULT;

-- one row per partition of events-received: who owns it, where it is, what its last batch decided
CREATE TABLE identity.partitions (
    partition integer PRIMARY KEY,
    epoch bigint NOT NULL,
    next_offset bigint,
    decisions bytea
) WITH (fillfactor = 50);
ALTER TABLE identity.partitions ALTER COLUMN decisions SET STORAGE EXTERNAL;

ALTER TABLE identity.nodes SET (autovacuum_vacuum_scale_factor = 0.05);
ALTER TABLE identity.profiles SET (autovacuum_vacuum_scale_factor = 0.05);
"""


def upgrade() -> None:
    op.execute(STATEMENTS)


def downgrade() -> None:
    op.execute("DROP SCHEMA identity CASCADE")
