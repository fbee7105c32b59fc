"""The space of what is kept for a time is used again before a fifth of it is dead."""

from typing import Final

from alembic import op

from cdp_runtime.vacuuming import IS_CHANGED, unvacuum, vacuum

revision = "front_0004"
down_revision = "front_0003"
branch_labels = None
depends_on = None

_CHANGED: Final = ("front.audit", "front.idempotency", "front.quarantine")


def upgrade() -> None:
    op.execute(vacuum(_CHANGED, IS_CHANGED))


def downgrade() -> None:
    op.execute(unvacuum(_CHANGED, IS_CHANGED))
