"""By what another CDP_SECRET_KEY is noticed: the fingerprint of the one that all was sealed under."""

from typing import Final

from alembic import op

from cdp_runtime.row_security import FRONT_DOOR_ROLE

revision = "activation_0008"
down_revision = "activation_0007"
branch_labels = None
depends_on = None

# at most one row
_KEPT: Final = """
CREATE TABLE activation.key_fingerprint (
    installation boolean PRIMARY KEY DEFAULT true CHECK (installation),
    fingerprint bytea NOT NULL,
    kept_at timestamptz NOT NULL DEFAULT now()
);
"""


def upgrade() -> None:
    op.execute(f"{_KEPT} GRANT SELECT ON activation.key_fingerprint TO {FRONT_DOOR_ROLE}")


def downgrade() -> None:
    op.execute("DROP TABLE activation.key_fingerprint")
