"""The front door sees the rows of one workspace; into the outbox it writes and does not look."""

from typing import Final

from alembic import op

from cdp_runtime.row_security import FRONT_DOOR_ROLE, protect, unprotect

revision = "segmenter_0003"
down_revision = "segmenter_0002"
branch_labels = None
depends_on = None

_TABLES: Final = {
    "segmenter.segments": "SELECT, INSERT, UPDATE",
    "segmenter.memberships": "SELECT, INSERT, UPDATE",
    "segmenter.requests": "SELECT, INSERT, UPDATE",
    "segmenter.moments": "",
    "segmenter.sweeps": "",
}


def upgrade() -> None:
    op.execute(f"GRANT USAGE ON SCHEMA segmenter TO {FRONT_DOOR_ROLE}")
    op.execute(protect(_TABLES))
    op.execute(f"GRANT INSERT ON segmenter.outbox TO {FRONT_DOOR_ROLE}")


def downgrade() -> None:
    op.execute(f"REVOKE INSERT ON segmenter.outbox FROM {FRONT_DOOR_ROLE}")
    op.execute(unprotect(_TABLES))
    op.execute(f"REVOKE USAGE ON SCHEMA segmenter FROM {FRONT_DOOR_ROLE}")
