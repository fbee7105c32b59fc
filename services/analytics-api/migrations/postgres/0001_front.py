"""The front door's own tables: tokens, the audit of personal data, stored answers, quarantined events."""

from alembic import op

revision = "front_0001"
down_revision = None
branch_labels = ("front",)
depends_on = None

TABLES = """
CREATE SCHEMA IF NOT EXISTS front;

CREATE TABLE front.tokens (
    workspace_id text NOT NULL,
    token_id uuid NOT NULL,
    name text NOT NULL,
    token_hash text NOT NULL UNIQUE,
    scopes text[] NOT NULL,
    created_at timestamptz NOT NULL DEFAULT now(),
    expires_at timestamptz,
    revoked_at timestamptz,
    last_used_at timestamptz,
    PRIMARY KEY (workspace_id, token_id)
);

CREATE TABLE front.audit (
    workspace_id text NOT NULL,
    at timestamptz NOT NULL,
    request_id text NOT NULL,
    token_id text NOT NULL,
    method text NOT NULL,
    route text NOT NULL,
    subject text NOT NULL,
    scope text NOT NULL,
    status int NOT NULL
);
CREATE INDEX audit_by_time ON front.audit (workspace_id, at DESC);
CREATE INDEX audit_by_subject ON front.audit (workspace_id, subject, at DESC) WHERE subject <> '';

CREATE TABLE front.idempotency (
    workspace_id text NOT NULL,
    key text NOT NULL,
    method text NOT NULL,
    path text NOT NULL,
    fingerprint bytea NOT NULL,
    owner text NOT NULL,
    started_at timestamptz NOT NULL,
    expires_at timestamptz NOT NULL,
    status int,
    content_type text,
    body bytea,
    PRIMARY KEY (workspace_id, key)
);
CREATE INDEX idempotency_by_expiry ON front.idempotency (expires_at);

CREATE TABLE front.quarantine (
    workspace_id text NOT NULL,
    partition int NOT NULL,
    "offset" bigint NOT NULL,
    source_id text NOT NULL,
    stage text NOT NULL,
    reason text NOT NULL,
    detail text NOT NULL,
    path text NOT NULL,
    message_id text,
    received_at timestamptz NOT NULL,
    raw bytea NOT NULL,
    PRIMARY KEY (workspace_id, partition, "offset")
);
CREATE INDEX quarantine_by_time ON front.quarantine (workspace_id, received_at DESC, partition DESC, "offset" DESC);

CREATE TABLE front.quarantine_offsets (
    partition int PRIMARY KEY,
    next_offset bigint NOT NULL
);
"""


def upgrade() -> None:
    op.execute(TABLES)


def downgrade() -> None:
    op.execute("DROP SCHEMA front CASCADE")
