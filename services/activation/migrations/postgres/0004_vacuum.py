"""The space of what is told is used again at once, that of deliveries before a fifth of them is dead."""

from typing import Final

from alembic import op

from cdp_runtime.vacuuming import IS_CHANGED, TURNS_OVER, unvacuum, vacuum

revision = "activation_0004"
down_revision = "activation_0003"
branch_labels = None
depends_on = None

_TURN_OVER: Final = ("activation.outbox",)
_CHANGED: Final = ("activation.deliveries", "activation.memberships")


def upgrade() -> None:
    op.execute(vacuum(_TURN_OVER, TURNS_OVER))
    op.execute(vacuum(_CHANGED, IS_CHANGED))


def downgrade() -> None:
    op.execute(unvacuum(_CHANGED, IS_CHANGED))
    op.execute(unvacuum(_TURN_OVER, TURNS_OVER))
